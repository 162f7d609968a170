"""`/v1/embeddings`: texts to vectors. Knows nothing of HTTP.

https://developers.openai.com/api/reference/resources/embeddings
"""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Literal

from engine.api.events import Finished
from engine.api.request import EmbedRequest
from engine.serve.wire.body import Body, Positive, Words, not_supported


class EmbeddingsBody(Body):
    input: Words | list[Words] | list[int] | list[list[int]]
    """One text or several. Tokens are refused."""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None


def embed_request(body: EmbeddingsBody, *, tenant: str) -> EmbedRequest:
    """Raises `Refused` or `RequestError` for what is not supported."""
    if body.dimensions is not None:
        raise not_supported("dimensions", "Leave it out: vectors come as long as the model makes them.")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(isinstance(text, str) for text in texts):
        raise not_supported("input of tokens", "Write it as text.")
    return EmbedRequest(tuple(texts), tenant=tenant)


def embeddings_object(finished: Finished, body: EmbeddingsBody, *, model: str) -> dict[str, Any]:
    """`model` is what the client is to read."""
    write = _packed if body.encoding_format == "base64" else list
    tokens = finished.usage.prompt_tokens
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": write(vector)}
            for index, vector in enumerate(finished.embeddings)
        ],
        "model": model,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _packed(vector: Sequence[float]) -> str:
    """Little-endian float32 in base64."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()

"""Texts to vectors: bodies to requests, and vectors as OpenAI's client reads them."""

import base64
import struct

import pytest
from openai.types import CreateEmbeddingResponse
from pydantic import ValidationError

from engine.api.errors import EngineError
from engine.api.events import Finished, FinishReason, Usage
from engine.api.request import EmbedRequest
from engine.serve.failures import Refused
from engine.serve.wire.embeddings import EmbeddingsBody, embed_request, embeddings_object
from tests.serve.wire.openai_client import ID, client_of

VECTORS = ((0.6, -0.8, 0.0), (1.0, 0.0, 1e-8))
FINISHED = Finished(ID, FinishReason.DONE, Usage(prompt_tokens=11), embeddings=VECTORS)


def body(**fields):
    return EmbeddingsBody.model_validate({"input": "Hello", **fields})


def written(**fields):
    return embeddings_object(FINISHED, body(**fields), model="some/model")


def test_one_text_or_several():
    assert embed_request(body(), tenant="salt") == EmbedRequest(("Hello",), tenant="salt")
    assert embed_request(body(input=["a", "b"]), tenant="salt") == EmbedRequest(("a", "b"), tenant="salt")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"input": [1, 2, 3]}, "tokens"),
        ({"input": [[1], [2]]}, "tokens"),
        ({"dimensions": 256}, "dimensions"),
        ({"adapter_path": "/a"}, "adapter_path"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields, told):
    with pytest.raises(Refused, match=told) as caught:
        embed_request(body(**fields), tenant="")
    assert caught.value.status == 400


@pytest.mark.parametrize("texts", ["", [], ["a", ""], ["a"] * 3000])
def test_too_few_and_too_many_texts_are_refused(texts):
    with pytest.raises(EngineError):
        embed_request(body(input=texts), tenant="")


@pytest.mark.parametrize(
    "fields",
    [
        {"input": None},
        {"input": 3},
        {"input": {"type": "image"}},
        {"input": ["a", None]},
        {"input": "\ud800"},
        {"encoding_format": "int8"},
        {"dimensions": 0},
        {"dimensions": True},
    ],
)
def test_what_cannot_be_read_is_refused(fields):
    with pytest.raises(ValidationError):
        body(**fields)


def test_the_object_is_openais():
    answer = CreateEmbeddingResponse.model_validate(written())
    assert [each.embedding for each in answer.data] == [list(vector) for vector in VECTORS]
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens, answer.model) == (11, 11, "some/model")


def test_base64_is_little_endian_float32():
    data = base64.b64decode(written(encoding_format="base64")["data"][0]["embedding"])
    assert struct.unpack("<3f", data) == pytest.approx(VECTORS[0])


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_a_client_reads_both(encoding):
    client = client_of(written(encoding_format=encoding))
    # Left to itself, the client asks for base64 and unpacks it.
    options = {"encoding_format": "float"} if encoding == "float" else {}
    answer = client.embeddings.create(model="some/model", input=["a", "b"], **options)
    assert [each.embedding for each in answer.data] == [pytest.approx(vector) for vector in VECTORS]

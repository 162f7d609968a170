"""What a text means as one vector: the mean of what the decoder makes of its tokens, before the head.

Knows nothing of requests. No decoder of mlx-lm's hands out its hidden states by a common name, so what its trunk gives
is kept while the whole model is called, as for an answer; the head, whose logits nobody looks at, is never computed.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import EngineError, RequestError
from engine.models.base import VisionLanguageModel

TRUNKS = ("model", "transformer", "backbone")
"""What decoders of mlx-lm call all of themselves but the head."""


def embed_text(
    model: VisionLanguageModel, token_ids: Sequence[int], step_size: int, name: str
) -> Iterator[int | tuple[float, ...]]:
    """How many tokens are done after each piece of about `step_size`, and at last the vector (D,), of length 1.

    Its caches are its own and hold everything, whatever answers are held to. Raises `RequestError`, with the model's
    `name`, where the trunk cannot be told from the head."""
    ids = np.asarray(token_ids, np.int32)
    caches = model.make_cache()
    total = mx.zeros(())
    for start, stop in pairwise([0, *_stops(model, ids, step_size)]):
        hidden = _hidden(model, mx.array(ids[start:stop])[None], caches, name)
        total = total + hidden.astype(mx.float32).sum(axis=(0, 1))
        mx.eval(total, [layer.state for layer in caches])
        yield stop
    length = mx.linalg.norm(total).item()
    if not 0 < length < float("inf"):
        raise EngineError(f"{name} makes no numbers of a text.", "Choose another model.", code="not_finite")
    yield tuple((total / length).tolist())


def _stops(model: VisionLanguageModel, ids: np.ndarray, step_size: int) -> list[int]:
    """Those of a prompt, but with its last token too."""
    return [*(stop for stop in model.prefill_stops(ids, step_size) if stop < len(ids) - 1), len(ids)]


def _hidden(model: VisionLanguageModel, ids: mx.array, caches: list[object], name: str) -> mx.array:
    """(1, L) -> (1, L, D)."""
    trunk = _trunk(model.language_model)
    if trunk is None:
        raise _refusal(name)
    model.select_adapter(None)
    with _kept(trunk) as outputs:
        logits = model(ids, caches)
    if len(outputs) != 1 or not isinstance(outputs[0], mx.array):
        raise _refusal(name)
    (hidden,) = outputs
    if hidden.ndim != 3 or hidden.shape[:2] != ids.shape or hidden.shape[-1] == logits.shape[-1]:
        raise _refusal(name)
    return hidden


def _trunk(decoder: nn.Module) -> nn.Module | None:
    while "language_model" in decoder:
        decoder = decoder.language_model
    return next((decoder[name] for name in TRUNKS if isinstance(decoder.get(name), nn.Module)), None)


@contextmanager
def _kept(trunk: nn.Module) -> Iterator[list[object]]:
    """What calls of `trunk` give, for as long as this lasts."""
    kind, outputs = type(trunk), []

    def call(self: nn.Module, *args: object, **options: object) -> object:
        outputs.append(kind.__call__(self, *args, **options))
        return outputs[-1]

    trunk.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    try:
        yield outputs
    finally:
        trunk.__class__ = kind


def _refusal(name: str) -> RequestError:
    return RequestError(
        f"{name} does not show what it makes of a text before its head, so it gives no vectors.",
        "Choose another model for embeddings.",
        code="no_embeddings",
    )

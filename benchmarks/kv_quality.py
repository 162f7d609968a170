"""What a compressed KV cache costs in quality, and what it saves: `python benchmarks/kv_quality.py`.

For each scheme, with the starter's language model or any other: the perplexity of a chapter of a novel; whether the
likeliest next token stays the same along plain greedy answers, and how many tokens an answer agrees for; the bits that
a number of a key or value takes. Prints a Markdown table, which `measure` returns as data.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.device import open_blas, open_device

if __name__ == "__main__":
    # Fovea is installed without torch. The tests' environment has it, and transformers would import it.
    sys.modules["torch"] = None  # type: ignore[assignment]
# Before anything imports MLX.
open_blas()

import mlx.core as mx  # noqa: E402

from engine.api.settings import KV_BITS, CacheSettings, EngineSettings, KVScheme  # noqa: E402
from engine.cache.attention import let_caches_attend  # noqa: E402
from engine.cache.codec import Codec  # noqa: E402
from engine.cache.compressed import CompressedKVCache  # noqa: E402
from engine.cache.scheme import codecs, compress  # noqa: E402
from engine.cache.turboquant import TurboQuant  # noqa: E402
from engine.loading.checkpoint import materialise, prepare  # noqa: E402
from engine.loading.hub import resolve  # noqa: E402
from engine.models.base import VisionLanguageModel  # noqa: E402

TEXT = Path(__file__).with_name("texts") / "the_first_lowering.txt"
STEP = 512
PROMPT, ANSWER, PLACES = 384, 128, 4
"""Tokens before an answer, tokens of an answer, and answers, which begin all over the text."""
PLAIN_BITS = 16
"""What a number takes in the models people run; on a CPU it is twice as much for speed, and so are the scales."""

Codecs = tuple[Codec, Codec]


@dataclass(frozen=True, slots=True)
class Quality:
    scheme: str
    bits: float
    """That a number takes where a model is in 16 bits, scales included."""
    cache_bytes: int
    """Of the whole text, measured here."""
    perplexity: float
    same: float
    """Of all tokens of the plain cache's greedy answers, how many are the likeliest here too."""
    agreeing: tuple[int, ...]
    """How many tokens each answer begins with that are the same."""


def schemes() -> Iterator[tuple[str, Codecs | None]]:
    yield "plain", None
    for kind in KVScheme:
        for bits in sorted(KV_BITS[kind], reverse=True):
            yield f"{kind.value} {bits:g}", codecs(CacheSettings(kv_bits=bits, kv_quant_scheme=kind))
    yield "turboquant keys 4, values 3", (TurboQuant(4), TurboQuant(3))


def measure(model: VisionLanguageModel, ids: Sequence[int], chosen: dict[str, Codecs | None]) -> list[Quality]:
    """One `Quality` a scheme, of the text `ids`. The first scheme answers, and the others are held against it."""
    let_caches_attend(model)
    text = mx.array(ids)[None]
    room = text.shape[1] - PROMPT
    starts = [place * room // PLACES for place in range(PLACES)]
    answers: list[mx.array] = []
    found = []
    for name, pair in chosen.items():
        if not answers:
            answers = [_answer(model, _caches(model, pair), text[:, at : at + PROMPT]) for at in starts]
        likely = [
            _likeliest(model, _caches(model, pair), text[:, at : at + PROMPT], answer)
            for at, answer in zip(starts, answers, strict=True)
        ]
        same = [(mine == answer).tolist() for mine, answer in zip(likely, answers, strict=True)]
        caches = _caches(model, pair)
        perplexity = _perplexity(model, caches, text)
        found.append(
            Quality(
                scheme=name,
                bits=_bits(pair, model),
                cache_bytes=sum(layer.nbytes for layer in caches),
                perplexity=perplexity,
                same=sum(map(sum, same)) / (PLACES * ANSWER),
                agreeing=tuple([*row, False].index(False) for row in same),
            )
        )
    return found


def table(rows: Sequence[Quality]) -> str:
    lines = [
        "| scheme | bits a number | saved | MB here | perplexity | same next token | tokens until an answer differs |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        saved = f"{1 - row.bits / PLAIN_BITS:.0%}"
        agreeing = ", ".join(map(str, row.agreeing))
        lines.append(
            f"| {row.scheme} | {row.bits:.2f} | {saved} | {row.cache_bytes / 1e6:.1f} | {row.perplexity:.2f} "
            f"| {row.same:.1%} | {agreeing} |"
        )
    return "\n".join(lines)


def _caches(model: VisionLanguageModel, pair: Codecs | None) -> list[Any]:
    if pair is None:
        return model.make_cache()
    # Any setting will do to see which of a model's caches can be compressed.
    kept = compress(model.make_cache(), CacheSettings(kv_bits=8))
    return [CompressedKVCache(*pair) if isinstance(layer, CompressedKVCache) else layer for layer in kept]


def _perplexity(model: VisionLanguageModel, caches: list[Any], text: mx.array) -> float:
    surprise = 0.0
    for start in range(0, text.shape[1] - 1, STEP):
        told = text[:, start + 1 : start + 1 + STEP]
        logits = model(text[:, start : start + told.shape[1]], caches).astype(mx.float32)
        chosen = mx.take_along_axis(logits, told[..., None], axis=-1)[..., 0]
        surprise += (mx.logsumexp(logits, axis=-1) - chosen).sum().item()
    return math.exp(surprise / (text.shape[1] - 1))


def _answer(model: VisionLanguageModel, caches: list[Any], prompt: mx.array) -> mx.array:
    """(ANSWER,) greedy tokens."""
    answer = []
    following = prompt
    for _ in range(ANSWER):
        answer.append(model(following, caches)[0, -1].argmax())
        following = answer[-1][None, None]
        mx.async_eval(following)
    return mx.stack(answer)


def _likeliest(model: VisionLanguageModel, caches: list[Any], prompt: mx.array, answer: mx.array) -> mx.array:
    """(ANSWER,) what comes first after the prompt and after each token of `answer` but its last."""
    whole = mx.concatenate([prompt, answer[None, :-1].astype(prompt.dtype)], axis=1)
    return model(whole, caches)[0, prompt.shape[1] - 1 :].argmax(axis=-1)


def _bits(pair: Codecs | None, model: VisionLanguageModel) -> float:
    if pair is None:
        return PLAIN_BITS
    caches = _caches(model, pair)
    model(mx.zeros((1, 1), dtype=mx.int32), caches)
    layer = next(layer for layer in caches if isinstance(layer, CompressedKVCache))
    held = (layer.keys, layer.values)
    values = sum(side.width for side in held)
    return sum(side.codec.bits_per_value(side.width, mx.bfloat16) * side.width for side in held) / values


def main() -> list[Quality]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--tokens", type=int, default=2560, help="of the text")
    arguments = parser.parse_args()
    settings = EngineSettings()
    checkpoint = prepare(arguments.model, resolve(arguments.model, settings), open_device(settings))
    for _ in materialise(checkpoint):
        pass
    ids = checkpoint.tokenizer.encode(TEXT.read_text(encoding="utf-8"))[: arguments.tokens]
    rows = measure(checkpoint.model, ids, dict(schemes()))
    print(f"{checkpoint.info.name}, {len(ids)} tokens of {TEXT.stem}\n")
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()

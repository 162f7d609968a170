"""A guess held against what a sampler draws: as far as the two agree, the guess was right.

Knows nothing of who guessed. What comes out is what would have been drawn token by token, with the same keys: a wrong
guess of a point mass is replaced by a draw from the very distribution that is left (arXiv 2211.17192).
"""

from collections.abc import Sequence

import mlx.core as mx

from engine.run.draw import Draw
from engine.run.sampler import Sampler


def follow(sampler: Sampler, logits: mx.array, draft: Sequence[int]) -> list[Draw]:
    """`logits` (1 + k, V) before, amid and behind a `draft` of k tokens -> the draws that agree with it, which are
    accepted then, and the one after them, which is not. The sampler is where it would be without a guess.

    Raises what `Sampler.draw` and `Sampler.accept` raise."""
    return _one_by_one(sampler, logits, draft) if sampler.heeds else _at_once(sampler, logits, draft)


def _one_by_one(sampler: Sampler, logits: mx.array, draft: Sequence[int]) -> list[Draw]:
    draws = [sampler.draw(logits[:1])]
    for number, token in enumerate(draft, start=1):
        if draws[-1].token.item() != token:
            break
        sampler.accept(token)
        draws.append(sampler.draw(logits[number : number + 1]))
    return draws


def _at_once(sampler: Sampler, logits: mx.array, draft: Sequence[int]) -> list[Draw]:
    """One wait for the device: behind a wrong token draws are worth nothing, and undone."""
    draws, marks = [], []
    for number in range(len(draft) + 1):
        draws.append(sampler.draw(logits[number : number + 1]))
        marks.append(sampler.mark())
    mx.async_eval([array for draw in draws for array in draw.arrays()])
    tokens = mx.concatenate([draw.token for draw in draws]).tolist()
    right = next((n for n, (own, guess) in enumerate(zip(tokens, draft, strict=False)) if own != guess), len(draft))
    sampler.go_back(marks[right])
    for token in draft[:right]:
        sampler.accept(token)
    return draws[: right + 1]

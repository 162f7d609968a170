"""A guess held against what a sampler draws: as far as the two agree, the guess was right.

Knows nothing of who guessed. What comes out is what would have been drawn token by token, with the same keys: a wrong
guess of a point mass is replaced by a draw from the very distribution that is left (arXiv 2211.17192).
"""

from collections.abc import Sequence

import mlx.core as mx

from engine.run.draw import Draw
from engine.run.sampler import Sampler


def follow(sampler: Sampler, logits: mx.array, tokens: Sequence[int]) -> list[Draw]:
    """`tokens` are one that was drawn, not accepted yet, and the guess of what comes behind it; `logits` (L, V) come
    behind each of them. Returns the draws that agree with the guess and the one after them. What was drawn is accepted
    but for the last; the sampler is where it would be without a guess.

    Raises what `Sampler.draw` and `Sampler.accept` raise."""
    return _one_by_one(sampler, logits, tokens) if sampler.heeds else _at_once(sampler, logits, tokens)


def _one_by_one(sampler: Sampler, logits: mx.array, tokens: Sequence[int]) -> list[Draw]:
    """In the runner's order: a token is accepted ahead of the next draw where the sampler waits, else behind it."""
    draws: list[Draw] = []
    for number, token in enumerate(tokens):
        if sampler.complete or (draws and draws[-1].token.item() != token):
            break
        if waits := sampler.waits:
            sampler.accept(token)
        draws.append(sampler.draw(logits[number : number + 1]))
        if not waits:
            sampler.accept(token)
    return draws


def _at_once(sampler: Sampler, logits: mx.array, tokens: Sequence[int]) -> list[Draw]:
    """One wait for the device: behind a wrong token draws are worth nothing, and undone."""
    draws, marks = [], []
    for number in range(len(tokens)):
        draws.append(sampler.draw(logits[number : number + 1]))
        marks.append(sampler.mark())
    mx.async_eval([array for draw in draws for array in draw.arrays()])
    drawn = mx.concatenate([draw.token for draw in draws]).tolist()
    right = [*(own == guess for own, guess in zip(drawn, tokens[1:], strict=False)), False].index(False)
    sampler.go_back(marks[right])
    for token in tokens[: right + 1]:
        sampler.accept(token)
    return draws[: right + 1]

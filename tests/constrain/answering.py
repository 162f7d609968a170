"""Answers of the tiny models under constraints, token by token, in the order in which the runner reads and launches."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.api.response_format import ResponseFormat
from engine.api.settings import ConstraintLimits, SamplingSettings
from engine.constrain.constraint import Constraint, GrammarConstraint
from engine.constrain.grammars import build_constraint
from engine.constrain.tokens import grammar_tokenizer
from engine.loading.checkpoint import Checkpoint, materialise, prepare
from engine.run.sampler import Sampler

MOST_TOKENS = 600
GREEDY = SamplingSettings(temperature=0.0)
SAMPLED = SamplingSettings(temperature=1.2, top_p=0.98)

Logits = Callable[[list[mx.array] | None], mx.array]
"""The tokens (1,) of all rows, none at first -> the logits (B, V) of those after them."""


@dataclass
class Tiny:
    checkpoint: Checkpoint
    tokens: Any
    """The grammar engine's tokenizer."""
    ends: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.ends = self.checkpoint.generation.eos_token_ids

    @classmethod
    def of(cls, folder: Path) -> "Tiny":
        checkpoint = prepare("tiny", folder, None)
        list(materialise(checkpoint))
        return cls(checkpoint, grammar_tokenizer(checkpoint.tokenizer, checkpoint.generation.eos_token_ids))

    def ids(self, text: str) -> list[int]:
        return self.checkpoint.tokenizer.encode(text, add_special_tokens=False)

    def text(self, ids: Sequence[int]) -> str:
        return self.checkpoint.tokenizer.decode([token for token in ids if token not in self.ends])

    def constraint(self, form: ResponseFormat) -> GrammarConstraint:
        return build_constraint(form, self.tokens, ConstraintLimits())

    def allows(self, form: ResponseFormat, text: str) -> bool:
        """Whether `text` is a whole answer in this form."""
        constraint = self.constraint(form)
        for token in self.ids(text):
            if not constraint.allows(token):
                return False
            constraint.accept(token)
        return bool(constraint.mask(300)[0, min(self.ends)])

    def answers(
        self, constraints: Sequence[Constraint | None], settings: SamplingSettings = SAMPLED, seed: int = 0
    ) -> list[str]:
        """One a row, all in one batch."""
        caches = self.checkpoint.model.make_cache(None)

        def logits(drawn: list[mx.array] | None) -> mx.array:
            ids = mx.array([self.ids(f"Question {row}?") for row in range(len(constraints))])
            return self.checkpoint.model(ids if drawn is None else mx.stack(drawn), caches)[:, -1]

        samplers = [
            Sampler(settings, mx.array([0]), seed=seed + row, logprobs=False, constraint=constraint)
            for row, constraint in enumerate(constraints)
        ]
        return [self.text(ids) for ids in play(samplers, logits, self.ends)]


def play(samplers: Sequence[Sampler], logits: Logits, ends: frozenset[int], most: int = MOST_TOKENS) -> list[list[int]]:
    """The next token is drawn before the last one is read, but for samplers that wait."""
    rows: list[list[int]] = [[] for _ in samplers]
    ended = [False for _ in samplers]

    def read(draws: list) -> None:
        for number, draw in enumerate(draws):
            if not ended[number]:
                token = draw.read().token_id
                rows[number].append(token)
                samplers[number].accept(token)
                ended[number] = token in ends or samplers[number].complete

    def launch(drawn: list[mx.array] | None) -> list:
        found = logits(drawn)
        idle = Sampler(GREEDY, mx.array([0]), seed=0, logprobs=False)
        pairs = enumerate(zip(samplers, ended, strict=True))
        return [(idle if is_over else sampler).draw(found[row : row + 1]) for row, (sampler, is_over) in pairs]

    draws = launch(None)
    for _ in range(most):
        waits = any(sampler.waits for sampler in samplers)
        if waits:
            read(draws)
        if all(ended):
            break
        following = launch([draw.token for draw in draws])
        if not waits:
            read(draws)
        draws = following
    return rows

"""What an answer may still become, token by token: the protocol a sampler asks, and the one that a grammar answers.

Knows nothing of models, logits or how a grammar was made.
"""

from typing import TYPE_CHECKING, Protocol

import mlx.core as mx
import numpy as np

from engine.api.errors import InternalError, RequestError

if TYPE_CHECKING:
    from llguidance import LLMatcher

_NOT_ALLOWED = "doesn't satisfy the grammar"
"""What llguidance says of a token; of itself, it says that something was too much."""


class Constraint(Protocol):
    """Of one answer. `accept` is called once for each of its tokens, in order, forced ones and the last one too."""

    @property
    def waits(self) -> bool:
        """Whether all tokens drawn so far have to be accepted before `mask` is asked for; otherwise one may be under
        way."""
        ...

    @property
    def holds(self) -> bool:
        """Whether the answer proper has begun, in which nothing may be put in."""
        ...

    @property
    def stopped(self) -> bool:
        """Whether nothing but the end of the sequence may follow."""
        ...

    def mask(self, size: int, drawn: mx.array | None) -> mx.array | None:
        """(1, size) bool: which tokens may come next; `None` for all. `drawn` (1,) is the token before, accepted or
        not; `None` at the beginning. Raises `RequestError` when that takes too much work."""
        ...

    def accept(self, token: int) -> None: ...

    def fork(self) -> "Constraint":
        """The same for another answer, as far as this one has come."""
        ...


class GrammarConstraint:
    """One answer held to a grammar from its first token to the end of the sequence."""

    def __init__(self, matcher: "LLMatcher") -> None:
        """`matcher` is at its beginning, and nobody else's."""
        self._matcher = matcher

    @property
    def waits(self) -> bool:
        return not self.stopped

    @property
    def holds(self) -> bool:
        return True

    @property
    def stopped(self) -> bool:
        return self._matcher.is_stopped()

    def mask(self, size: int, drawn: mx.array | None = None) -> mx.array:
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        # A model may have more tokens than its tokenizer, and the other way round.
        allowed = np.unpackbits(bits, count=size, bitorder="little")
        is_stuck = self._matcher.stop_reason() == "NoExtensionBias"
        if not is_stuck:
            self._check()
        if is_stuck or not allowed.any():
            raise RequestError(
                "The answer cannot go on in the form that was asked for with the tokens that the model has.",
                "Make the form wider.",
                code="unreachable_format",
            )
        return mx.array(allowed[None]).astype(mx.bool_)

    def allows(self, token: int) -> bool:
        return self._matcher.validate_tokens([token]) == 1

    def accept(self, token: int) -> None:
        self._matcher.consume_token(token)
        self._check()

    def fork(self) -> "GrammarConstraint":
        return GrammarConstraint(self._matcher.deep_copy())

    def _check(self) -> None:
        if not self._matcher.is_error():
            return
        reason = self._matcher.get_error().partition("\n")[0].rstrip(".")
        if _NOT_ALLOWED in reason:
            raise InternalError(f"A token was drawn that the form of the answer does not allow: {reason}.")
        raise RequestError(
            f"The form of the answer takes too much work to be held: {reason}.",
            "Make the schema, the regular expression or the grammar simpler.",
            code="format_too_complex",
        )

"""How answers end, in OpenAI's words.

Knows nothing of what was answered.
"""

from engine.api.errors import EngineError
from engine.api.events import Finished, FinishReason

_REASONS = {FinishReason.LENGTH: "length", FinishReason.TOOL_CALLS: "tool_calls"}


def endings(event: Finished) -> list[str]:
    """Of each answer, in their order."""
    reasons = [end.reason for end in event.choices] or [event.reason]
    return [_REASONS.get(reason, "stop") for reason in reasons]


def cancelled() -> EngineError:
    """What a client reads that did not take its request back itself: OpenAI has no word for it."""
    return EngineError("The answer was stopped before its end.", "Ask again.", code="cancelled")

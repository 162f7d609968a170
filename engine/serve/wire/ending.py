"""How answers end, in OpenAI's words.

Knows nothing of what was answered.
"""

from engine.api.errors import EngineError
from engine.api.events import Failed, Finished, FinishReason
from engine.serve.failures import Protocol, error_body
from engine.serve.wire.frames import Frame

_REASONS = {FinishReason.LENGTH: "length", FinishReason.TOOL_CALLS: "tool_calls"}


def endings(event: Finished) -> list[str]:
    """Of each answer, in their order."""
    reasons = [end.reason for end in event.choices] or [event.reason]
    return [_REASONS.get(reason, "stop") for reason in reasons]


def error_frame(event: Finished | Failed) -> Frame:
    """Of an answer that failed or was cancelled."""
    return Frame(error_body(Protocol.OPENAI, event if isinstance(event, Failed) else cancelled()))


def whole_end(event: Finished | None) -> Finished:
    """The end of an answer that is to be told in one piece. Raises `EngineError` where it was cancelled."""
    if event is None or event.reason is FinishReason.CANCELLED:
        raise cancelled()
    return event


def cancelled() -> EngineError:
    """What a client reads that did not take its request back itself: OpenAI has no word for it."""
    return EngineError("The answer was stopped before its end.", "Ask again.", code="cancelled")

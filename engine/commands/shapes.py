"""The JSON that `--json` prints: programs depend on these shapes.

Knows nothing of when they are printed.
"""

from collections.abc import Sequence
from dataclasses import asdict

from engine.api.errors import EngineError
from engine.api.events import (
    Accepted,
    Event,
    LocalModel,
    ModelInfo,
    Progress,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
)
from engine.reply import Reply

_USAGE = (
    "prompt_tokens",
    "completion_tokens",
    "cached_tokens",
    "image_tokens",
    "thinking_tokens",
    "drafted_tokens",
    "accepted_tokens",
)


def answer_object(reply: Reply) -> dict[str, object]:
    """The one object of a finished answer. `thinking` and `tool_calls` are there only if the model wrote some, `stop`
    if one of the stop strings ended it, `top_logprobs` if they were asked for."""
    shape: dict[str, object] = {
        "text": reply.text,
        "token_ids": reply.token_ids,
        "logprobs": reply.logprobs,
        "finish_reason": reply.end.reason.value,
        "usage": {name: getattr(reply.end.usage, name) for name in _USAGE},
        "timings": asdict(reply.end.timings),
    }
    shape |= _likeliest(reply.tokens)
    if reply.end.choices and reply.end.choices[0].stop:
        shape["stop"] = reply.end.choices[0].stop
    if reply.end.regions:
        shape["regions"] = [asdict(region) for region in reply.end.regions]
    if reply.end.notes:
        shape["notes"] = list(reply.end.notes)
    if reply.thinking:
        shape["thinking"] = reply.thinking
    if reply.tool_calls:
        shape["tool_calls"] = [_call(call) for call in reply.tool_calls]
    return shape


def event_object(event: Event) -> dict[str, object] | None:
    """One line of a stream; `None` for events that a program has no use for."""
    match event:
        case Accepted():
            return {"event": "accepted", "request_id": event.request_id}
        case Progress():
            return {
                "event": "progress",
                "stage": event.stage.name.lower(),
                "done": event.done,
                "total": event.total,
                "note": event.note,
            }
        case TextDelta() | ThinkingDelta():
            return {
                "event": "text" if isinstance(event, TextDelta) else "thinking",
                "text": event.text,
                "token_ids": [token.token_id for token in event.tokens],
                "logprobs": [token.logprob for token in event.tokens],
                **_likeliest(event.tokens),
            }
        case ToolCallDelta():
            return {"event": "tool_call", "index": event.index, **_call(event)}
    return None


def _likeliest(tokens: Sequence[TokenLogprob]) -> dict[str, object]:
    """What else might have stood in the place of each token; nothing at all if that was not asked for."""
    if not any(token.alternatives for token in tokens):
        return {}
    return {"top_logprobs": [list(map(_weighed, token.alternatives)) for token in tokens]}


def _weighed(token: TokenLogprob) -> dict[str, object]:
    return {
        "token_id": token.token_id,
        "logprob": token.logprob,
        "text": token.text,
        "bytes": list(token.bytes),
    }


def _call(call: ToolCallDelta) -> dict[str, object]:
    return {"id": call.call_id, "name": call.name, "arguments": call.arguments}


def error_object(error: EngineError) -> dict[str, object]:
    return {
        "error": {
            "code": error.code,
            "message": error.message,
            "hint": error.hint,
            "fault": error.fault.name.lower(),
        }
    }


def info_object(info: ModelInfo) -> dict[str, object]:
    return asdict(info) | {"modalities": sorted(modality.value for modality in info.modalities)}


def local_model_object(model: LocalModel) -> dict[str, object]:
    return asdict(model)

"""What a client is told when something cannot be done: an HTTP status, a code, and plain words in its own protocol.

Whatever could hold a path, an address or a piece of a request is taken out here, at the last place before the wire.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from engine.api.errors import EngineError, Fault
from engine.api.events import Failed


class Protocol(Enum):
    """Whose shapes an answer has."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"


class Refused(EngineError):
    """Turned away before the engine was asked. `status` is the HTTP status; `retry_after_s` when to come back."""

    code = "refused"
    fault = Fault.USER
    status = 400

    def __init__(
        self,
        message: str,
        hint: str = "",
        *,
        status: int | None = None,
        code: str | None = None,
        fault: Fault | None = None,
        retry_after_s: float | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message, hint, code=code, fault=fault)
        if status is not None:
            self.status = status
        self.retry_after_s = retry_after_s
        self.param = param


class ModelNotFound(Refused):
    """No model of that name may be asked for here."""

    code = "model_not_found"
    status = 404


class Overloaded(Refused):
    """Too much is asked at once, or a model is being loaded."""

    code = "overloaded"
    status = 503


class TooManyRequests(Refused):
    """Too much is asked with one key."""

    code = "rate_limit_exceeded"
    status = 429


@dataclass(frozen=True, slots=True)
class Failure:
    """Ready to be written: nothing in it has to be kept from a client."""

    status: int
    code: str
    message: str
    param: str | None = None
    """Which field of the request it is about."""
    retry_after_s: float | None = None


# Of an engine's error by its code; others are the user's (400) or ours (500).
_STATUS: Mapping[str, int] = MappingProxyType(
    {
        "bad_checkpoint": 500,
        "busy": 503,
        "cancelled": 503,
        "disk": 507,
        "engine_closed": 503,
        "hub": 404,
        "media_too_large": 413,
        "model_changed": 503,
        "no_model": 503,
        "not_downloaded": 404,
        "not_enough_memory": 503,
        "stopping": 503,
    }
)
_RETRY_S: Mapping[str, float] = MappingProxyType({"busy": 2.0, "model_changed": 1.0, "not_enough_memory": 10.0})

# Instead of what the engine says, where that names files and folders.
_PLAIN: Mapping[str, str] = MappingProxyType(
    {
        "bad_checkpoint": "The model cannot be loaded. Its folder is incomplete, or of a kind that is not known.",
        "disk": "The disk is full, or refuses to be written.",
        "engine_error": "The engine could not do this.",
        "hub": "There is no such model on this machine.",
        "internal": "Something went wrong inside. The log of the server has the details.",
        "not_downloaded": "There is no such model on this machine. Requests never download one.",
    }
)

_OPENAI_TYPES = MappingProxyType(
    {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}
)
_ANTHROPIC_TYPES = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
    }
)

_QUOTED = re.compile(r"'(?:[^'\\\n]|\\.)*'(?!\w)|\"(?:[^\"\\\n]|\\.)*\"|`[^`\n]*/[^`\n]*`")
_ADDRESS = re.compile(r"\b[a-zA-Z][a-zA-Z0-9+.-]*://\S+|\bdata:\S+|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b")
_IP6 = re.compile(r"(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
# All but the one of our own routes that hints name.
_PATH = re.compile(r"(?:(?<=[\s(=\[<:,])|^)(?!/v1/models[ .])(?:~|[A-Za-z]:\\|\.{0,2}/)\S*")


def failure_of(error: EngineError | Failed) -> Failure:
    """What may be told of an error."""
    if isinstance(error, Failed):
        error = error.to_error()
    message = _PLAIN.get(error.code) or scrubbed(f"{error.message} {error.hint}".strip())
    if isinstance(error, Refused):
        return Failure(error.status, error.code, message, error.param, error.retry_after_s)
    status = _STATUS.get(error.code, 400 if error.fault is Fault.USER else 500)
    return Failure(status, error.code, message, None, _RETRY_S.get(error.code))


def error_body(protocol: Protocol, error: EngineError | Failed | Failure) -> dict[str, Any]:
    """The object for both: an answer of its own, or the end of a stream."""
    failure = error if isinstance(error, Failure) else failure_of(error)
    if protocol is Protocol.ANTHROPIC:
        usual = "invalid_request_error" if failure.status < 500 else "api_error"
        kind = _ANTHROPIC_TYPES.get(failure.status, usual)
        return {"type": "error", "error": {"type": kind, "message": failure.message}, "request_id": None}
    usual = "invalid_request_error" if failure.status < 500 else "server_error"
    kind = _OPENAI_TYPES.get(failure.status, usual)
    return {"error": {"message": failure.message, "type": kind, "param": failure.param, "code": failure.code}}


def error_schema(protocol: Protocol) -> dict[str, Any]:
    """Of such objects, as OpenAPI describes them."""
    text = {"type": "string"}
    words = {"type": text, "message": text}
    if protocol is Protocol.OPENAI:
        maybe = {"type": ["string", "null"]}
        return _object({"error": _object(words | {"param": maybe, "code": text})})
    return _object({"type": {"const": "error"}, "error": _object(words), "request_id": {"type": ["string", "null"]}})


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def retry_header(failure: Failure) -> dict[str, str]:
    """Whole seconds, at least one."""
    if failure.retry_after_s is None:
        return {}
    return {"retry-after": str(max(1, math.ceil(failure.retry_after_s)))}


def protocol_of(path: str) -> Protocol:
    """By the route: Anthropic's live below `/v1/messages`."""
    is_anthropic = path.rstrip("/") == "/v1/messages" or path.startswith("/v1/messages/")
    return Protocol.ANTHROPIC if is_anthropic else Protocol.OPENAI


def scrubbed(message: str) -> str:
    """Without what was quoted from the request, without addresses and paths."""
    for pattern in (_ADDRESS, _QUOTED, _IP6, _PATH):
        message = pattern.sub("…", message)
    return message

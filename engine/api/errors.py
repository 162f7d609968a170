"""The errors a person is meant to read: what happened, and what to do about it.

Knows nothing of where they are shown. Anything else that is raised inside the engine is a bug, and is reported as one.
"""

from enum import Enum


class Fault(Enum):
    """Whose fault it is; the command line's exit status follows from it."""

    USER = 2
    ENGINE = 1


class EngineError(Exception):
    """Base of every expected failure.

    `code` is stable and for programs, `message` says what happened, `hint` what to do.
    """

    code = "engine_error"
    fault = Fault.ENGINE

    def __init__(self, message: str, hint: str = "", *, code: str | None = None, fault: Fault | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code
        if fault is not None:
            self.fault = fault

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RequestError(EngineError):
    """The request contradicts itself, names something unknown, or is out of range."""

    code = "bad_request"
    fault = Fault.USER


class MediaError(EngineError):
    """A picture, clip or recording that cannot be read, or is too large to be opened."""

    code = "bad_media"
    fault = Fault.USER


class CheckpointError(EngineError):
    """A model folder that cannot be loaded: missing, cut short, of an unknown type, or with tensors that do not fit."""

    code = "bad_checkpoint"
    fault = Fault.USER


class ContextError(EngineError):
    """The prompt does not fit into the model's context."""

    code = "context_length_exceeded"
    fault = Fault.USER


class MemoryRefused(EngineError):
    """The device has not enough free memory; nothing was started."""

    code = "not_enough_memory"
    fault = Fault.USER


class BusyError(EngineError):
    """More is asked at once than may wait."""

    code = "busy"
    fault = Fault.USER


class HubError(EngineError):
    """The Hub cannot be reached, or does not have, or does not show, the repository."""

    code = "hub"
    fault = Fault.USER


class DiskError(EngineError):
    """The disk is full or refuses to be written."""

    code = "disk"
    fault = Fault.USER


class NoModelError(EngineError):
    """A request for text while no model is loaded."""

    code = "no_model"
    fault = Fault.USER


class ClosedError(EngineError):
    """The engine was shut down before the request could end."""

    code = "engine_closed"


class InternalError(EngineError):
    """A bug: the engine keeps running, the log has the traceback."""

    code = "internal"

"""Events on their way to the fronts: gathered for a step, delivered in order, and exactly one terminal event each.

Knows nothing of what the events mean beyond that.
"""

import logging
from collections.abc import Callable

from engine.api.errors import EngineError, InternalError
from engine.api.events import Accepted, Event, Failed, Finished, Sink
from engine.run.exhaustion import is_out_of_memory

log = logging.getLogger("fovea.engine")


class Outbox:
    def __init__(self) -> None:
        self._sinks: dict[str, Sink] = {}
        self._pending: dict[str, list[Event]] = {}

    @property
    def open_requests(self) -> tuple[str, ...]:
        return tuple(self._sinks)

    def open(self, request_id: str, sink: Sink) -> None:
        self._sinks[request_id] = sink
        self._pending[request_id] = [Accepted(request_id)]

    def is_open(self, request_id: str) -> bool:
        return request_id in self._sinks

    def emit(self, event: Event) -> None:
        """After a request's terminal event nothing more is sent for it."""
        request_id = event.request_id
        if request_id not in self._sinks:
            return
        self._pending.setdefault(request_id, []).append(event)
        if isinstance(event, Finished | Failed):
            self._deliver(request_id)
            del self._sinks[request_id]

    def fail(self, request_id: str, error: BaseException) -> None:
        self.emit(Failed.from_error(request_id, as_engine_error(error)))

    def flush(self, on_broken: Callable[[str], None]) -> None:
        """Deliver what has gathered. A sink that raises is a front's bug: it is logged, and `on_broken` is told."""
        for request_id in list(self._pending):
            if not self._deliver(request_id):
                self._sinks.pop(request_id, None)
                on_broken(request_id)

    def _deliver(self, request_id: str) -> bool:
        events = self._pending.pop(request_id, None)
        if not events:
            return True
        try:
            self._sinks[request_id](tuple(events))
        except Exception:
            log.exception("the sink of %s raised", request_id)
            return False
        return True


def as_engine_error(error: BaseException) -> EngineError:
    """What to tell a person about any failure; what nobody expected is logged with its traceback."""
    if isinstance(error, EngineError):
        return error
    log.error("unexpected failure", exc_info=error)
    text = str(error)
    if is_out_of_memory(error):
        return EngineError(
            f"The device ran out of memory: {text}",
            "Begin a new chat, use smaller pictures, or choose a smaller model.",
            code="out_of_memory",
        )
    return InternalError(
        f"Fovea made a mistake ({type(error).__name__}: {text}).",
        "Try again; if it happens again, please report it with the log.",
    )

"""The engine: drains the inbox, steps whatever is under way, delivers events. THE thread that touches MLX.

Knows nothing of Qt, HTTP or terminals. Cheap to import: what is heavy is imported on the thread that runs it.
"""

import gc
import logging
from collections import deque
from typing import TYPE_CHECKING

from engine import jobs
from engine.api.conversion import ConvertModel
from engine.api.errors import BusyError, ClosedError, EngineError, NoModelError, RequestError
from engine.api.events import Finished, FinishReason, ModelInfo, Status
from engine.api.request import (
    CacheStats,
    Cancel,
    DescribeModel,
    GenerateRequest,
    ListModels,
    LoadModel,
    PullModel,
    RemoveModel,
    ResetCaches,
    UnloadModel,
)
from engine.api.settings import EngineSettings
from engine.device import Device, open_device
from engine.inbox import Envelope, Inbox
from engine.outbox import Outbox, as_engine_error

if TYPE_CHECKING:
    from engine.generation import Generation
    from engine.session import Session

log = logging.getLogger("fovea.engine")

POLL_S = 0.05
"""How long the loop sleeps when all that is under way waits for a network."""


class EngineLoop:
    def __init__(self, inbox: Inbox, settings: EngineSettings) -> None:
        self._inbox = inbox
        self._settings = settings
        self._outbox = Outbox()
        self._device: Device | None = None
        self._broken: EngineError | None = None
        self._generation: Generation | None = None
        self._session: Session | None = None
        self._queue: deque[Envelope] = deque()
        """In order of arrival: loading a model waits for the answers before it, and holds up those after it."""
        self._exclusive: tuple[str, jobs.Job] | None = None
        self._side: dict[str, jobs.Job] = {}
        self._waiting = False
        """Whether none of the side jobs had anything to do in the last step."""

    def run(self) -> None:
        """Until the client is closed. Returns only when every request has had its terminal event."""
        try:
            self._device = open_device(self._settings)
        except Exception as error:  # noqa: BLE001 - each request is told, and the front stays usable
            self._broken = as_engine_error(error)
        while not self._inbox.closed:
            for letter in self._inbox.drain(wait=not self._busy, timeout=None):
                self._take(letter)
            self._step()
            self._outbox.flush(self._drop)
            if self._side and self._waiting and not self._working:
                for letter in self._inbox.drain(wait=True, timeout=POLL_S):
                    self._take(letter)
        self._shut_down()

    # ---- for the jobs: where the one loaded model sits

    @property
    def occupied_bytes(self) -> int:
        return self._session.weight_bytes if self._session else 0

    @property
    def session(self) -> "Session | None":
        return self._session

    def vacate(self) -> None:
        if self._session is None:
            return
        self._session.close()
        self._session = None
        self._generation = None
        import mlx.core as mx

        gc.collect()
        mx.clear_cache()

    def seat(self, session: "Session") -> None:
        from engine.generation import Generation

        self._session = session
        self._generation = Generation(session, self._settings, self._outbox.emit, self._outbox.fail)

    # ---- letters

    @property
    def _working(self) -> bool:
        return bool(self._exclusive or self._queue or (self._generation and not self._generation.idle))

    @property
    def _busy(self) -> bool:
        return self._working or bool(self._side)

    def _take(self, letter: Envelope | Cancel) -> None:
        if isinstance(letter, Cancel):
            self._cancel(letter.request_id)
            return
        self._outbox.open(letter.request_id, letter.sink)
        if self._broken is not None:
            self._outbox.fail(letter.request_id, self._broken)
        elif isinstance(letter.request, GenerateRequest | LoadModel | UnloadModel):
            self._queue.append(letter)
        else:
            self._start_side_job(letter)

    def _start_side_job(self, envelope: Envelope) -> None:
        name, request = envelope.request_id, envelope.request
        match request:
            case PullModel():
                self._side[name] = jobs.pull(name, request, self._settings)
            case ListModels():
                self._side[name] = jobs.list_models(name, request, self._settings)
            case DescribeModel():
                self._side[name] = jobs.describe_model(name, request, self._settings, self._device, self)
            case RemoveModel():
                self._side[name] = jobs.remove_model(name, request, self._settings)
            case CacheStats() | ResetCaches():
                self._side[name] = jobs.cache_stats(name, request, self)
            case ConvertModel():
                self._side[name] = jobs.convert(name, request, self._settings)
            case _:
                kind = type(request).__name__
                self._outbox.fail(name, RequestError(f"{kind} is not supported.", "Update Fovea.", code="unsupported"))

    def _cancel(self, request_id: str) -> None:
        if not self._outbox.is_open(request_id):
            return
        if self._generation is not None:
            self._generation.cancel(request_id)
        was_exclusive = self._exclusive is not None and self._exclusive[0] == request_id
        self._drop(request_id)
        if was_exclusive:
            self._outbox.emit(self._status(request_id))
        self._outbox.emit(Finished(request_id, FinishReason.CANCELLED))

    def _drop(self, request_id: str) -> None:
        """Let go of whatever is under way for a request, without a word."""
        if self._exclusive is not None and self._exclusive[0] == request_id:
            self._exclusive[1].close()
            self._exclusive = None
        if request_id in self._side:
            self._side.pop(request_id).close()
        self._queue = deque(envelope for envelope in self._queue if envelope.request_id != request_id)
        if self._generation is not None:
            self._generation.drop(request_id)

    # ---- steps

    def _step(self) -> None:
        self._start_what_may_start()
        if self._exclusive is not None:
            name, job = self._exclusive
            if self._advance(name, job, with_status=True):
                self._exclusive = None
        self._waiting = True
        for name, job in list(self._side.items()):
            if self._advance(name, job):
                self._side.pop(name, None)
        if self._generation is not None and not self._generation.idle:
            self._generation.step()

    def _start_what_may_start(self) -> None:
        while self._queue and self._exclusive is None:
            envelope = self._queue[0]
            if isinstance(envelope.request, GenerateRequest):
                self._queue.popleft()
                self._start_answer(envelope, envelope.request)
            elif self._generation is None or self._generation.idle:
                self._queue.popleft()
                self._start_exclusive(envelope)
            else:
                return

    def _start_answer(self, envelope: Envelope, request: GenerateRequest) -> None:
        if self._generation is None:
            error = NoModelError("No model is loaded.", "Choose a model first.")
            self._outbox.fail(envelope.request_id, error)
            return
        try:
            self._generation.add(envelope, request)
        except BusyError as error:
            self._outbox.fail(envelope.request_id, error)

    def _start_exclusive(self, envelope: Envelope) -> None:
        name, request = envelope.request_id, envelope.request
        if isinstance(request, LoadModel):
            self._exclusive = (name, jobs.load(name, request, self._settings, self._device, self))
        else:
            self._exclusive = (name, jobs.unload(name, request, self))

    def _advance(self, request_id: str, job: jobs.Job, *, with_status: bool = False) -> bool:
        """One piece of a job; whether that was its last."""
        try:
            event = next(job)
        except Exception as error:  # noqa: BLE001 - whatever a job raises is its request's failure, not the engine's
            if with_status:
                self._outbox.emit(self._status(request_id))
            self._outbox.fail(request_id, error)
            return True
        if event is None:
            return False
        self._waiting = False
        if with_status and isinstance(event, Finished):
            self._outbox.emit(self._status(request_id))
        self._outbox.emit(event)
        return isinstance(event, Finished)

    def _status(self, request_id: str) -> Status:
        import mlx.core as mx

        info: ModelInfo | None = self._session.info if self._session else None
        running, waiting = (self._generation.running, self._generation.waiting) if self._generation else (0, 0)
        return Status(request_id, info, mx.get_active_memory(), running, waiting)

    # ---- the end

    def _shut_down(self) -> None:
        """Answers under way are cancelled, everything else fails; then the model goes, on the thread it belongs to."""
        for letter in self._inbox.drain(wait=False):
            self._take(letter)
        never_begun = {envelope.request_id for envelope in self._queue}
        for request_id in self._outbox.open_requests:
            if request_id in never_begun:
                self._outbox.fail(request_id, ClosedError("The engine was shut down before this began."))
            self._cancel(request_id)
        self._outbox.flush(self._drop)
        self.vacate()
        if self._device is not None:
            _leave_device()


def _leave_device() -> None:
    """Let MLX end the threads it keeps for this one. Left behind, they abort the process now and then as it exits."""
    import mlx.core as mx

    mx.synchronize()
    mx.clear_streams()

"""The engine: drains the inbox, steps whatever is under way, delivers events. THE thread that touches MLX.

Knows nothing of Qt, HTTP or terminals. Cheap to import: what is heavy is imported on the thread that runs it.
"""

import gc
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from engine import jobs, readings
from engine.api.errors import BusyError, ClosedError, EngineError, NoModelError, RequestError
from engine.api.events import Finished, FinishReason, ModelInfo, Status
from engine.api.request import (
    Cancel,
    CountTokens,
    EmbedRequest,
    GenerateRequest,
    LoadModel,
    UnloadModel,
    WatchStatus,
)
from engine.api.settings import EngineSettings
from engine.device import Device, open_device
from engine.inbox import Envelope, Inbox
from engine.outbox import Outbox, as_engine_error
from engine.watchers import Watchers

if TYPE_CHECKING:
    from engine.generation import Generation
    from engine.session import Session

log = logging.getLogger("fovea.engine")

POLL_S = 0.05
"""How long the loop sleeps when all that is under way waits for a network."""


class Exclusive(NamedTuple):
    """What nothing else that needs the loaded model runs beside."""

    request_id: str
    job: jobs.Job
    loading: str = ""
    """The source that it loads."""


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
        self._exclusive: Exclusive | None = None
        self._readings: dict[str, jobs.Job] = {}
        """Of the loaded model, each a piece at a time, in turns."""
        self._side: dict[str, jobs.Job] = {}
        self._waiting = False
        """Whether none of the side jobs had anything to do in the last step."""
        self._watchers = Watchers(self._outbox.emit)

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
        return bool(self._exclusive or self._queue or not self._model_idle)

    @property
    def _model_idle(self) -> bool:
        return not self._readings and (self._generation is None or self._generation.idle)

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
        elif isinstance(letter.request, GenerateRequest | CountTokens | EmbedRequest | LoadModel | UnloadModel):
            self._queue.append(letter)
        elif isinstance(letter.request, WatchStatus):
            self._watchers.add(letter.request_id)
        else:
            self._start_side_job(letter)

    def _start_side_job(self, envelope: Envelope) -> None:
        name, request = envelope.request_id, envelope.request
        try:
            self._side[name] = jobs.side_job(name, request, self._settings, self._device, self)
        except RequestError as error:
            self._outbox.fail(name, error)

    def _cancel(self, request_id: str) -> None:
        if not self._outbox.is_open(request_id):
            return
        if self._generation is not None:
            self._generation.cancel(request_id)
        was_exclusive = self._exclusive is not None and self._exclusive.request_id == request_id
        self._drop(request_id)
        if was_exclusive:
            self._outbox.emit(self._status(request_id))
        self._outbox.emit(Finished(request_id, FinishReason.CANCELLED))

    def _drop(self, request_id: str) -> None:
        """Let go of whatever is under way for a request, without a word."""
        if self._exclusive is not None and self._exclusive.request_id == request_id:
            self._exclusive.job.close()
            self._exclusive = None
        for jobs_under_way in (self._side, self._readings):
            if request_id in jobs_under_way:
                jobs_under_way.pop(request_id).close()
        self._watchers.drop(request_id)
        self._queue = deque(envelope for envelope in self._queue if envelope.request_id != request_id)
        if self._generation is not None:
            self._generation.drop(request_id)

    # ---- steps

    def _step(self) -> None:
        self._start_what_may_start()
        if self._exclusive is not None:
            name, job, _ = self._exclusive
            if self._advance(name, job, with_status=True):
                self._exclusive = None
        self._waiting = True
        for name, job in list(self._side.items()):
            if self._advance(name, job):
                self._side.pop(name, None)
        self._read_on()
        if self._generation is not None and not self._generation.idle:
            self._generation.step()
        self._tell_watchers()

    def _read_on(self) -> None:
        """A piece of the reading whose turn it is."""
        if self._readings:
            name = next(iter(self._readings))
            job = self._readings.pop(name)
            if not self._advance(name, job):
                self._readings[name] = job

    def _start_what_may_start(self) -> None:
        while self._queue and self._exclusive is None:
            envelope = self._queue[0]
            request = envelope.request
            if isinstance(request, GenerateRequest | CountTokens | EmbedRequest):
                self._queue.popleft()
                try:
                    self._start_with_model(envelope, request)
                except (NoModelError, RequestError, BusyError) as error:
                    self._outbox.fail(envelope.request_id, error)
            elif self._model_idle:
                self._queue.popleft()
                self._start_exclusive(envelope)
            else:
                return

    def _start_with_model(self, envelope: Envelope, request: GenerateRequest | CountTokens | EmbedRequest) -> None:
        """Raises `NoModelError`, `BusyError`, and `RequestError` where another model is meant than is loaded."""
        if self._session is None or self._generation is None:
            raise NoModelError("No model is loaded.", "Choose a model first.")
        if request.model and request.model != self._session.info.source:
            raise RequestError(
                "Another model has been loaded than this was meant for.", "Ask again.", code="model_changed"
            )
        if isinstance(request, GenerateRequest):
            self._generation.add(envelope, request)
        elif len(self._readings) >= self._settings.max_waiting:
            raise BusyError("As many texts wait to be read as may.", "Ask again when some of them are read.")
        else:
            name = envelope.request_id
            self._readings[name] = readings.reading(name, request, self._session, self._settings)

    def _start_exclusive(self, envelope: Envelope) -> None:
        name, request = envelope.request_id, envelope.request
        if isinstance(request, LoadModel):
            job = jobs.load(name, request, self._settings, self._device, self)
            self._exclusive = Exclusive(name, job, loading=request.source)
        else:
            self._exclusive = Exclusive(name, jobs.unload(name, request, self))

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

    def _tell_watchers(self) -> None:
        if self._watchers:
            loading = self._exclusive.loading if self._exclusive else ""
            self._watchers.tell(self._status("", loading))

    def _status(self, request_id: str, loading: str = "") -> Status:
        import mlx.core as mx

        info: ModelInfo | None = self._session.info if self._session else None
        running, waiting = (self._generation.running, self._generation.waiting) if self._generation else (0, 0)
        return Status(request_id, info, mx.get_active_memory(), running, waiting, loading)

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

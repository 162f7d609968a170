"""Requests other than answers, each a generator the loop advances between decoding steps.

A job yields events and ends with its `Finished`; what it raises becomes `Failed`. Knows nothing of inboxes or sinks.
"""

import tempfile
import threading
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Protocol

from engine.api.conversion import ConvertModel
from engine.api.errors import HubError, NoModelError, RequestError
from engine.api.events import Finished, FinishReason, LocalModel, Progress, Stage
from engine.api.model_facts import PictureCut
from engine.api.request import (
    CacheStats,
    DescribeModel,
    Image,
    ListModels,
    LoadModel,
    PullModel,
    RemoveModel,
    Request,
    ResetCaches,
    UnloadModel,
)
from engine.api.settings import EngineSettings
from engine.device import Device

if TYPE_CHECKING:
    from engine.loading.checkpoint import Checkpoint
    from engine.session import Session

TINY = "tiny"
"""The source of the self-test's random model, which is written when it is asked for."""

Job = Iterator[Progress | Finished | None]
"""`None` means: waiting for somebody else, ask again later."""


class ModelSeat(Protocol):
    """Where the one loaded model sits; the loop's."""

    @property
    def occupied_bytes(self) -> int: ...

    @property
    def session(self) -> "Session | None": ...

    def vacate(self) -> None: ...

    def seat(self, session: "Session") -> None: ...


def side_job(request_id: str, request: Request, settings: EngineSettings, device: Device, seat: ModelSeat) -> Job:
    """One that runs beside answers. Raises `RequestError` for a request that is none."""
    match request:
        case PullModel():
            return pull(request_id, request, settings)
        case ListModels():
            return list_models(request_id, request, settings)
        case DescribeModel():
            return describe_model(request_id, request, settings, device, seat)
        case RemoveModel():
            return remove_model(request_id, request, settings)
        case CacheStats() | ResetCaches():
            return cache_stats(request_id, request, seat)
        case ConvertModel():
            return convert(request_id, request, settings)
    raise RequestError(f"{type(request).__name__} is not supported.", "Update Fovea.", code="unsupported")


def load(request_id: str, request: LoadModel, settings: EngineSettings, device: Device, seat: ModelSeat) -> Job:
    """The model before stays until the new one is known to be whole and to fit; then it goes, and only then the new
    one's weights are read."""
    yield Progress(request_id, Stage.READING, 0, 0)
    # Not at the top: this brings transformers and mlx-lm, seconds that a window must not wait for.
    from engine.opening import open_checkpoint

    with ExitStack() as scratch:
        folder = yield from _folder(request_id, request, settings, scratch)
        draft = None
        if request.draft_model is not None:
            wanted = replace(request, source=request.draft_model, revision=None)
            draft = request.draft_model, (yield from _folder(request_id, wanted, settings, scratch))
        opening = open_checkpoint(
            request.source,
            folder,
            settings,
            device,
            reclaimable=seat.occupied_bytes,
            draft=draft,
            adapter=request.adapter,
        )
        seat.vacate()
        for done, total in opening.materialise():
            yield Progress(request_id, Stage.LOADING, done, total)
    session = opening.session()
    seat.seat(session)
    yield Finished(request_id, FinishReason.DONE, model=session.info)


def _folder(
    request_id: str, request: LoadModel | ConvertModel, settings: EngineSettings, scratch: ExitStack
) -> Generator[Progress | None, None, Path]:
    """Where the model lies; fetched first if that was asked for. What is written for this request alone goes with
    `scratch`."""
    from engine.loading.hub import resolve

    if request.source == TINY:
        from engine.loading.tiny import write_tiny_smolvlm

        return write_tiny_smolvlm(Path(scratch.enter_context(tempfile.TemporaryDirectory(prefix="fovea-"))))
    try:
        return resolve(request.source, settings, request.revision)
    except HubError:
        if not request.download:
            raise
    return (yield from download(request_id, request.source, request.revision, settings))


def unload(request_id: str, request: UnloadModel, seat: ModelSeat) -> Job:
    seat.vacate()
    yield Finished(request_id, FinishReason.DONE)


def pull(request_id: str, request: PullModel, settings: EngineSettings) -> Job:
    from engine.loading.hub import STARTER

    if request.repo_id == STARTER:
        raise RequestError("The starter model comes with Fovea.", "`make setup` downloads whatever it lacks.")
    path = yield from download(request_id, request.repo_id, request.revision, settings)
    yield Finished(request_id, FinishReason.DONE, path=str(path))


def list_models(request_id: str, request: ListModels, settings: EngineSettings) -> Job:
    from engine.loading.hub import local_models

    models: tuple[LocalModel, ...] = local_models(settings)
    yield Finished(request_id, FinishReason.DONE, models=models)


def describe_model(
    request_id: str, request: DescribeModel, settings: EngineSettings, device: Device, seat: ModelSeat
) -> Job:
    from engine.loading.checkpoint import prepare
    from engine.loading.footprint import context_memory
    from engine.loading.hub import resolve

    folder = resolve(request.source, settings)
    checkpoint = prepare(request.source, folder, device, reclaimable=seat.occupied_bytes)
    info = checkpoint.info
    memory = context_memory(checkpoint.model, info.weight_bytes, info.context_length)
    picture = _picture_cut(checkpoint, request.image, settings) if request.image is not None else None
    yield Finished(request_id, FinishReason.DONE, model=replace(info, memory=memory, picture=picture), path=str(folder))


def _picture_cut(checkpoint: "Checkpoint", image: Image, settings: EngineSettings) -> PictureCut:
    """Raises `MediaError` for a picture that cannot be read, `RequestError` for a model that takes none."""
    from engine.models.cut import picture_cut
    from engine.models.media.picture import open_picture

    if checkpoint.processor is None:
        raise RequestError(
            f"{checkpoint.info.name} does not take pictures.", "Ask without --image.", code="unsupported_media"
        )
    picture = open_picture(image, settings.media)
    media = checkpoint.processor.prepare(picture.image, picture.digest)
    return picture_cut(media, (picture.image.height, picture.image.width), checkpoint.config)


def convert(request_id: str, request: ConvertModel, settings: EngineSettings) -> Job:
    """A tensor at a time, so that answers go on meanwhile and a stop is heard."""
    yield Progress(request_id, Stage.READING, 0, 0)
    from engine.loading.checkpoint import prepare
    from engine.loading.convert import plan_conversion
    from engine.loading.convert_files import check_target, write

    target = request.target.expanduser().absolute()
    check_target(target)
    with ExitStack() as scratch:
        folder = yield from _folder(request_id, request, settings, scratch)
        prepare(request.source, folder, None)
        conversion = plan_conversion(folder, request)
        for done, total in scratch.enter_context(closing(write(conversion, target))):
            yield Progress(request_id, Stage.CONVERTING, done, total)
    info = prepare(str(target), target, None).info
    yield Finished(request_id, FinishReason.DONE, model=info, path=str(target), notes=conversion.notes)


def cache_stats(request_id: str, request: CacheStats | ResetCaches, seat: ModelSeat) -> Job:
    """Raises `NoModelError` where no model is loaded."""
    session = seat.session
    if session is None:
        raise NoModelError("No model is loaded, so there are no caches.", "Choose a model first.")
    if isinstance(request, ResetCaches):
        session.reset_caches()
    yield Finished(request_id, FinishReason.DONE, cache=session.cache_report())


def remove_model(request_id: str, request: RemoveModel, settings: EngineSettings) -> Job:
    from engine.loading.hub import remove_model as remove

    remove(request.repo_id, settings)
    yield Finished(request_id, FinishReason.DONE)


@dataclass(slots=True)
class _Download:
    """Shared with the worker thread: only these and the arguments cross."""

    reports: SimpleQueue[tuple[int, int]] = field(default_factory=SimpleQueue)
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    path: Path | None = None
    error: Exception | None = None


def download(
    request_id: str, repo_id: str, revision: str | None, settings: EngineSettings
) -> Generator[Progress | None, None, Path]:
    """Runs on a thread of its own, since it waits for a network; yields its progress, returns the folder."""
    shared = _Download()

    def work() -> None:
        from engine.loading.hub import pull as fetch

        try:
            report = shared.reports.put
            shared.path = fetch(
                repo_id, revision, settings, lambda done, total: report((done, total)), shared.cancelled.is_set
            )
        except Exception as error:  # noqa: BLE001 - handed over, and raised again on the engine's thread
            shared.error = error
        shared.ended.set()

    threading.Thread(target=work, name=f"download {repo_id}", daemon=True).start()
    try:
        while not shared.ended.is_set():
            latest = _latest(shared.reports)
            yield None if latest is None else Progress(request_id, Stage.DOWNLOADING, *latest, note=repo_id)
    finally:
        # Closed early is cancelled: the worker stops at its next chunk, what it has fetched stays for the next try.
        shared.cancelled.set()
    if shared.error is not None:
        raise shared.error
    return shared.path


def _latest(reports: SimpleQueue[tuple[int, int]]) -> tuple[int, int] | None:
    latest = None
    while True:
        try:
            latest = reports.get_nowait()
        except Empty:
            return latest

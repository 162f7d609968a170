"""Which model is loaded, which is on its way, and which there are to choose from.

Knows nothing of how models are loaded or shown; it asks the engine and hears of it through `take`.
"""

from dataclasses import dataclass
from enum import Enum

from app.state.catalogue import CatalogueEntry, Machine, best_for
from app.state.engine_port import EnginePort
from app.state.notice import Notice
from engine.api.errors import NoModelError
from engine.api.events import Event, Failed, Finished, FinishReason, LocalModel, ModelInfo, Progress, Status
from engine.api.request import ListModels, LoadModel, PullModel, UnloadModel, WatchStatus

STARTER = "starter"


class Task(Enum):
    LOADING = "loading"
    DOWNLOADING = "downloading"


@dataclass(frozen=True, slots=True)
class Activity:
    """The load or download that runs."""

    task: Task
    source: str
    request_id: str
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A model of the catalogue, on this machine."""

    entry: CatalogueEntry
    fits: bool
    recommended: bool


class ModelsState:
    """Attributes: `changed` sends this object after each change; `failed` what went wrong with a load or download;
    `loaded_source` the source of each model that has become ready."""

    def __init__(self, engine: EnginePort, catalogue: tuple[CatalogueEntry, ...], machine: Machine) -> None:
        self.changed: Notice[ModelsState] = Notice()
        self.failed: Notice[Failed] = Notice()
        self.loaded_source: Notice[str] = Notice()
        self.loaded: ModelInfo | None = None
        self.memory_bytes = 0
        self.activity: Activity | None = None
        self.loading_elsewhere = ""
        """The source that a program is loading through the local API; empty when none is."""
        self.local: tuple[LocalModel, ...] = ()
        self.machine = machine
        self.catalogue = catalogue
        self._engine = engine
        self._listing: str | None = None

    def load(self, source: str) -> None:
        """Make this the loaded model; a load or download still running is given up."""
        self._start(Task.LOADING, source)

    def download(self, repo_id: str) -> None:
        """Fetch it, then load it."""
        self._start(Task.DOWNLOADING, repo_id)

    def unload(self) -> None:
        """Let go of the loaded model and its memory; `watch` tells of it."""
        self._engine.submit(UnloadModel())

    def watch(self) -> None:
        """Hear of models from now on that others load and unload, too."""
        self._engine.submit(WatchStatus())

    def cancel(self) -> None:
        if self.activity is not None:
            self._engine.cancel(self.activity.request_id)

    def refresh(self) -> None:
        """Ask what is on this machine."""
        if self._listing is None:
            self._listing = self._engine.submit(ListModels())

    def offers(self) -> tuple[Offer, ...]:
        """The catalogue without what is here already."""
        here = {model.source for model in self.local if not model.problem}
        best = best_for(self.machine, self.catalogue)
        return tuple(
            Offer(entry, entry.fits(self.machine), entry is best)
            for entry in self.catalogue
            if entry.repo_id not in here
        )

    def better_model(self) -> CatalogueEntry | None:
        """What to offer to somebody who has only the starter."""
        if self.loaded is None or not self.is_starter(self.loaded.source):
            return None
        return best_for(self.machine, self.catalogue)

    def is_here(self, repo_id: str) -> bool:
        return any(model.source == repo_id and not model.problem for model in self.local)

    @staticmethod
    def is_starter(source: str) -> bool:
        return source == STARTER

    def take(self, event: Event) -> None:
        if isinstance(event, Status):
            self.loaded, self.memory_bytes = event.model, event.memory_bytes
            is_own = self.activity is not None and self.activity.source == event.loading
            self.loading_elsewhere = "" if is_own else event.loading
            self.changed.send(self)
        elif self._listing is not None and event.request_id == self._listing:
            self._take_listing(event)
        elif self.activity is not None and event.request_id == self.activity.request_id:
            self._take_activity(self.activity, event)
        elif isinstance(event, Failed) and event.code == NoModelError.code:
            # A load that was given up or failed half-way has cost the model before it.
            self.loaded = None
            self.changed.send(self)

    def _start(self, task: Task, source: str) -> None:
        self.cancel()
        request = LoadModel(source) if task is Task.LOADING else PullModel(source)
        self.activity = Activity(task, source, self._engine.submit(request))
        self.changed.send(self)

    def _take_listing(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.local = event.models
        if isinstance(event, Finished | Failed):
            self._listing = None
            self.changed.send(self)

    def _take_activity(self, activity: Activity, event: Event) -> None:
        if isinstance(event, Progress):
            self.activity = Activity(activity.task, activity.source, activity.request_id, event)
            self.changed.send(self)
        elif isinstance(event, Failed):
            self.activity = None
            self.changed.send(self)
            self.failed.send(event)
            if self.loaded is None and not self.is_starter(activity.source):
                self.load(STARTER)
        elif isinstance(event, Finished):
            self.activity = None
            self._finish(activity, event)

    def _finish(self, activity: Activity, finished: Finished) -> None:
        if finished.reason is not FinishReason.CANCELLED and activity.task is Task.DOWNLOADING:
            self.refresh()
            self.load(activity.source)
            return
        if finished.model is not None:
            self.loaded = finished.model
        self.changed.send(self)
        if finished.model is not None:
            self.loaded_source.send(activity.source)

"""Which models a request may name, and by what ids. Ids show no folder of the machine; sources stay inside.

Knows nothing of loading them.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from engine.api.events import LocalModel, ModelInfo
from engine.serve.board import Board
from engine.serve.settings import ServeSettings

ListLocal = Callable[[], Awaitable[tuple[LocalModel, ...]]]


@dataclass(frozen=True, slots=True)
class Entry:
    id: str
    """As clients name it: a repository's own, or a folder's last name."""
    source: str
    is_loaded: bool
    model_type: str = ""


class Catalogue:
    def __init__(self, settings: ServeSettings, board: Board, list_local: ListLocal) -> None:
        self._settings = settings
        self._board = board
        self._list_local = list_local
        self._known: tuple[LocalModel, ...] = ()
        """What was on this machine when the engine was last asked."""

    async def entries(self) -> tuple[Entry, ...]:
        """The loaded one first. While a model loads, the engine is not waited for."""
        if not self._board.loading:
            self._known = await self._list_local()
        loaded = self._board.model
        found = {} if loaded is None else {id_of(loaded.source): _loaded_entry(loaded)}
        for local in self._known:
            if not local.problem and self._is_allowed(local.source):
                found.setdefault(id_of(local.source), Entry(id_of(local.source), local.source, False, local.model_type))
        for source in self._given():
            found.setdefault(id_of(source), Entry(id_of(source), source, False))
        return tuple(found.values())

    async def find(self, asked: str) -> Entry | None:
        """The loaded one is found without asking anybody."""
        loaded = self._board.model
        if loaded is not None and asked == id_of(loaded.source):
            return _loaded_entry(loaded)
        return next((entry for entry in await self.entries() if entry.id == asked), None)

    def is_near(self, asked: str) -> bool:
        """Whether it is the id of a model that is loaded or that the settings name; nobody is asked for it."""
        loaded = self._board.model
        return asked in {id_of(source) for source in (*self._given(), *([loaded.source] if loaded else ()))}

    def _given(self) -> list[str]:
        """Those that the settings name: the engine's list has only what was downloaded."""
        folders = [source for source in self._settings.models or () if is_folder(source)]
        return [*(load.source for load in self._settings.loads), *folders]

    def _is_allowed(self, source: str) -> bool:
        return self._settings.models is None or source in self._settings.models


def _loaded_entry(info: ModelInfo) -> Entry:
    return Entry(id_of(info.source), info.source, True, info.model_type)


def is_folder(source: str) -> bool:
    """Whether it is one by its looks; repositories are `owner/name`."""
    return source.startswith(("/", ".", "~")) or "\\" in source or source.count("/") > 1


def id_of(source: str) -> str:
    return Path(source).expanduser().resolve().name if is_folder(source) else source

"""What every command is handed: settings, a terminal, and how to open an engine.

Knows nothing of any command. Tests hand over an engine of their own.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.commands.terminal import Terminal


class Engine(Protocol):
    @property
    def client(self) -> EngineClient: ...


OpenEngine = Callable[[EngineSettings], AbstractContextManager[Engine]]


@dataclass(frozen=True, slots=True)
class Context:
    settings: EngineSettings
    terminal: Terminal
    open_engine: OpenEngine
    offline: bool = False
    """Whether the environment forbids downloads."""


def open_host(settings: EngineSettings) -> AbstractContextManager[Engine]:
    """The real engine. Imported here, so that `--help` does not wait for it."""
    from engine.host import EngineHost

    return EngineHost(settings)

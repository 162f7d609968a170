"""Runs an engine on a thread of its own, for fronts without Qt: the command line, Python, a headless server.

Knows nothing of what is asked of it.
"""

import threading
from types import TracebackType

from engine.api.settings import EngineSettings
from engine.client import EngineClient
from engine.inbox import Inbox
from engine.loop import EngineLoop


class EngineHost:
    """Use as a context manager, or call `start` and `close`."""

    def __init__(self, settings: EngineSettings) -> None:
        inbox = Inbox()
        self.client = EngineClient(inbox)
        self._thread = threading.Thread(target=EngineLoop(inbox, settings).run, name="engine", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        """Returns when the engine has ended what ran and let go of its model, or after `timeout` seconds."""
        self.client.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def __enter__(self) -> "EngineHost":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

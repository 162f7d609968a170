"""The thread the engine lives on, from its heavy imports to letting go of the model.

Knows nothing of requests. Importing this module imports no engine: that happens in `run`.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, QThread

from engine.api.errors import InternalError
from engine.api.events import Accepted, Failed
from engine.api.settings import EngineSettings
from engine.inbox import Envelope, Inbox

log = logging.getLogger("fovea.app")

STACK_BYTES = 16 * 1024 * 1024
"""A secondary thread's default on macOS, 512 KB, is too little for deep Python and tensor libraries."""


class Loop(Protocol):
    def run(self) -> None: ...


LoopFactory = Callable[[Inbox, EngineSettings], Loop]


def build_loop(inbox: Inbox, settings: EngineSettings) -> Loop:
    from engine.loop import EngineLoop

    return EngineLoop(inbox, settings)


class EngineThread(QThread):
    def __init__(
        self,
        inbox: Inbox,
        settings: EngineSettings,
        factory: LoopFactory = build_loop,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.setObjectName("engine")
        self.setStackSize(STACK_BYTES)
        self._inbox = inbox
        self._settings = settings
        self._factory = factory

    def run(self) -> None:
        try:
            self._factory(self._inbox, self._settings).run()
        except Exception as error:
            log.exception("The engine's thread ended early")
            self._refuse_all(error)

    def _refuse_all(self, cause: Exception) -> None:
        """Nobody waits for an answer that cannot come; what is submitted later is refused by the closed inbox."""
        error = InternalError(
            f"The engine could not go on: {type(cause).__name__}: {cause}", "Quit Fovea and start it again."
        )
        self._inbox.close()
        for letter in self._inbox.drain(wait=False):
            if isinstance(letter, Envelope):
                letter.sink((Accepted(letter.request_id), Failed.from_error(letter.request_id, error)))

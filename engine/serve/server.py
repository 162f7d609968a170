"""The local API as it runs: a socket, a thread with an event loop of its own, and a way to end it.

Knows nothing of routes. Nothing of the web framework is imported before it is started.
"""

import logging
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from engine.api.errors import InternalError
from engine.client import EngineClient
from engine.serve.board import Board
from engine.serve.port import address_of, listen
from engine.serve.settings import ServeSettings

if TYPE_CHECKING:
    from engine.serve.request_log import Observer
    from engine.serve.running import Running

log = logging.getLogger("fovea.serve")


class Server:
    """Start it once, stop it once; both may be called from any thread, and return when it is done."""

    def __init__(
        self,
        client: EngineClient,
        settings: ServeSettings,
        observers: "tuple[Observer, ...]" = (),
        *,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """`observers` hear of each request once it is over, on the server's thread. `on_lost` is called there if the
        server ends without having been stopped; it has to be stopped all the same."""
        self.settings = settings
        self.board = Board()
        self.address = ""
        """Without a path, once it is started."""
        self._client = client
        self._observers = observers
        self._on_lost = on_lost
        self._ending = False
        self._running: Running | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Returns the address. Raises `PortTaken` and other `EngineError`s, with nothing left behind."""
        from engine.serve.running import Running

        listening = listen(self.settings.host, self.settings.port)
        self.address = address_of(listening, self.settings.host)
        try:
            self._running = Running(self._client, self.settings, self.board, self._observers)
        except BaseException:
            listening.close()
            raise
        self._thread = threading.Thread(target=self._run, args=(listening,), name="local API", daemon=True)
        self.board.watch(self._client)
        self._thread.start()
        self._running.ready.wait()
        if not self._running.started:
            self.stop()
            raise InternalError("The local API could not be started.", "The log has the details.")
        return self.address

    def stop(self, patience_s: float | None = None) -> None:
        """Nobody is let in any more; answers under way get `patience_s` seconds to end (those of the settings by
        default), and are ended then."""
        if self._thread is None:
            return
        self._ending = True
        self._running.drain(self.settings.limits.drain_s if patience_s is None else patience_s)
        self._thread.join()
        self._thread = None
        self.board.close()

    def _run(self, listening: socket.socket) -> None:
        try:
            with listening:
                self._running.run(listening)
        except Exception:
            log.exception("The local API ended unexpectedly")
        if self._running.started and not self._ending and self._on_lost is not None:
            self._on_lost()

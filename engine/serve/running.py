"""uvicorn as the local API needs it: without a word of its own, ready when it says so, and drained before it ends.

Knows nothing of who starts it.
"""

import asyncio
import contextlib
import socket
import threading

import uvicorn
from starlette.types import Scope

from engine.client import EngineClient
from engine.serve.application import build_application
from engine.serve.board import Board
from engine.serve.request_log import Observer
from engine.serve.settings import ServeSettings

_LAST_WORDS_S = 2.0
"""For answers that are ended to say so."""
_MOST_CONNECTIONS = 1000


class Running(uvicorn.Server):
    def __init__(
        self, client: EngineClient, settings: ServeSettings, board: Board, observers: tuple[Observer, ...]
    ) -> None:
        built = build_application(client, settings, board, observers)
        self._desk = built.desk
        self._desk.hang_up = self._hang_up
        super().__init__(
            uvicorn.Config(
                built.app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                # Whoever asks is who is connected: there is no proxy that could say otherwise.
                proxy_headers=False,
                server_header=False,
                limit_concurrency=_MOST_CONNECTIONS,
            )
        )
        self.ready = threading.Event()
        """Set when it listens, and when it could not; `started` says which."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, listening: socket.socket) -> None:
        """On a thread of its own, until it is drained."""
        try:
            super().run([listening])
        finally:
            self.ready.set()

    def drain(self, patience_s: float) -> None:
        """From any thread; returns at once."""
        if self._loop is not None:
            # A loop that is closed has ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._drain, patience_s)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    def _hang_up(self, scope: Scope) -> None:
        """uvicorn tells nobody whose connection a request came by; its other end is at one address alone."""
        for connection in list(self.server_state.connections):
            if connection.client == scope["client"]:
                connection.transport.abort()

    def _drain(self, patience_s: float) -> None:
        self._desk.admission.close()
        self._loop.call_later(patience_s, self._desk.stop_answers)
        self.config.timeout_graceful_shutdown = patience_s + _LAST_WORDS_S
        self.should_exit = True

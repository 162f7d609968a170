"""The local API's server, held for the window: started and stopped off the window's thread, heard of by one signal.

Knows nothing of what the window makes of it. Nothing of a server is imported before it is first turned on.
"""

import logging
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Protocol

from PySide6.QtCore import QObject, Qt, Signal, Slot

from app.state.request_log import RequestLine
from app.state.server_port import (
    KeyRead,
    KeyRefused,
    Reach,
    RequestServed,
    ServerEvent,
    ServerFailed,
    ServerOptions,
    ServerStarted,
    ServerStopped,
)
from engine.api.errors import EngineError
from engine.client import EngineClient

if TYPE_CHECKING:
    from engine.serve.request_log import LogEntry
    from engine.serve.settings import ServeSettings

log = logging.getLogger("fovea.app")

EVERYWHERE = "0.0.0.0"
CONTAINERS_HOST = "host.docker.internal"
"""What programs in containers on this computer call it; a name that no web page can have."""


class PortTaken(EngineError):
    """Another program listens there."""

    code = "port_taken"

    def __init__(self, message: str, hint: str, free_port: int | None) -> None:
        super().__init__(message, hint)
        self.free_port = free_port


class KeychainError(EngineError):
    """The system's keychain refused."""

    code = "keychain"


class RunningServer(Protocol):
    address: str
    """Without a path."""

    def stop(self, patience_s: float | None = None) -> None:
        """Returns once it has ended. `patience_s` is what answers get to end; `None` leaves that to the server."""
        ...


class Serving(Protocol):
    """What the switch turns on: everything in it may take its time, and is called on one thread that is not Qt's."""

    def open(
        self,
        client: EngineClient,
        options: ServerOptions,
        key: str,
        observe: Callable[[RequestLine], None],
        on_lost: Callable[[], None],
    ) -> RunningServer:
        """`on_lost` is called should it end without having been stopped. Raises `EngineError`, of them `PortTaken`."""
        ...

    def key(self) -> KeyRead: ...

    def new_key(self) -> KeyRead:
        """Raises `EngineError` if it cannot be kept."""
        ...


class EngineServing:
    """The server of `engine.serve`."""

    def __init__(self) -> None:
        self._unkept: KeyRead | None = None

    def open(
        self,
        client: EngineClient,
        options: ServerOptions,
        key: str,
        observe: Callable[[RequestLine], None],
        on_lost: Callable[[], None],
    ) -> RunningServer:
        from engine.serve.port import PortTaken as Taken
        from engine.serve.server import Server

        observers = (lambda entry: observe(_line(entry)),)
        server = Server(client, _settings(options, key), observers, on_lost=on_lost)
        try:
            server.start()
        except Taken as error:
            raise PortTaken(error.message, error.hint, error.free_port) from error
        return server

    def key(self) -> KeyRead:
        from engine.serve.keys import stored_key

        if self._unkept is not None:
            return self._unkept
        found = stored_key()
        if found.is_kept:
            return KeyRead(found.key)
        self._unkept = KeyRead(found.key, "The keychain could not be used: this key is good until you quit.")
        return self._unkept

    def new_key(self) -> KeyRead:
        from keyring.errors import KeyringError

        from engine.serve.keys import new_key, renewed_key

        if self._unkept is not None:
            self._unkept = KeyRead(new_key(), self._unkept.note)
            return self._unkept
        try:
            return KeyRead(renewed_key().key)
        except KeyringError as error:
            raise KeychainError("The keychain took no new key.", f"The old one is still good. ({error})") from error


def _settings(options: ServerOptions, key: str) -> "ServeSettings":
    from engine.serve.settings import LOOPBACK, ServeSettings

    is_open = options.reach is Reach.NETWORK
    own_name = socket.gethostname()
    return ServeSettings(
        host=EVERYWHERE if is_open else LOOPBACK,
        port=options.port,
        keys=(key,),
        allowed_hosts=(CONTAINERS_HOST, *((own_name, f"{own_name}.local") if is_open and own_name else ())),
        allowed_origins=options.origins,
        switching=options.switches_models,
        log_bodies=options.logs_bodies,
    )


_REFUSED = {401: "without the right key", 403: "not let in", 404: "no such route"}


def _line(entry: "LogEntry") -> RequestLine:
    from engine.serve.request_log import UNKNOWN_ROUTE

    # What was refused at the door came to no route.
    route = _REFUSED.get(entry.status, "refused") if entry.route == UNKNOWN_ROUTE else entry.route
    return RequestLine(
        at=entry.time,
        client=entry.client,
        route=f"{entry.method} {route}",
        status=entry.status,
        prompt_tokens=entry.usage.prompt_tokens,
        completion_tokens=entry.usage.completion_tokens,
        milliseconds=entry.duration_ms,
        asked=entry.question,
        answered=entry.answer,
    )


class ServerSwitch(QObject):
    """A `ServerPort` for the window's state. Signals: `happened(event)`, a `ServerEvent`, on the window's thread."""

    happened = Signal(object)

    _arrived = Signal(object)

    def __init__(self, client: EngineClient, serving: Serving, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._serving = serving
        self._server: RunningServer | None = None
        self._closing: Future[ServerStopped] | None = None
        # One thread: what was asked first is done first.
        self._worker = ThreadPoolExecutor(1, "local API switch")
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)

    def start(self, options: ServerOptions) -> None:
        self._worker.submit(self._do, lambda: self._open(options), ServerFailed)

    def stop(self) -> None:
        self._worker.submit(self._do, self._close, ServerFailed)

    def key(self) -> None:
        self._worker.submit(self._do, self._serving.key, KeyRefused)

    def renew_key(self) -> None:
        self._worker.submit(self._do, self._serving.new_key, KeyRefused)

    def shut_down(self, patience_s: float) -> bool:
        """Stop the server for good; the engine has to have ended the answers. Returns whether it ended in time."""
        if self._closing is None:
            self._closing = self._worker.submit(self._close, patience_s)
            self._worker.shutdown(wait=False)
        return not wait((self._closing,), patience_s).not_done

    # ---- on the worker's thread

    def _do(self, run: Callable[[], ServerEvent], refusal: type[ServerFailed] | type[KeyRefused]) -> None:
        try:
            event = run()
        except PortTaken as error:
            event = ServerFailed(error.message, error.hint, error.free_port)
        except EngineError as error:
            event = refusal(error.message, error.hint)
        except Exception as error:
            log.exception("Unexpected error of the local API")
            event = refusal("Something went wrong inside Fovea.", f"Start Fovea anew. ({type(error).__name__})")
        self._arrived.emit(event)

    def _open(self, options: ServerOptions) -> ServerStarted:
        read = self._serving.key()
        self._arrived.emit(read)
        self._server = self._serving.open(self._client, options, read.key, self._observe, self._on_lost)
        return ServerStarted(self._server.address)

    def _close(self, patience_s: float | None = None) -> ServerStopped:
        server, self._server = self._server, None
        if server is not None:
            server.stop(patience_s)
        return ServerStopped()

    def _lose(self) -> ServerFailed:
        self._close(0)
        return ServerFailed("The local API ended by itself.", "Turn it on again.")

    # ---- on the server's thread

    def _observe(self, line: RequestLine) -> None:
        self._arrived.emit(RequestServed(line))

    def _on_lost(self) -> None:
        if self._closing is None:
            self._worker.submit(self._do, self._lose, ServerFailed)

    # ---- on the window's thread

    @Slot(object)
    def _on_arrived(self, event: ServerEvent) -> None:
        self.happened.emit(event)

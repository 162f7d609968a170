"""The local API as the window has it: the switch, who may connect, the key, and what was asked.

Knows nothing of servers or widgets; it asks a `ServerPort` and hears of it through `take`.
"""

from collections.abc import Callable
from dataclasses import replace
from enum import Enum

from app.state.notice import Notice
from app.state.origins import read_origins
from app.state.request_log import RequestLine, RequestLog
from app.state.server_port import (
    KeyRead,
    KeyRefused,
    Reach,
    RequestServed,
    ServerEvent,
    ServerFailed,
    ServerOptions,
    ServerPort,
    ServerStarted,
    ServerStopped,
)


class Switch(Enum):
    OFF = "off"
    STARTING = "starting"
    ON = "on"
    STOPPING = "stopping"
    FAILED = "failed"


class ServerState:
    """Attributes: `changed` sends this object after each change but those of the log; `logged` sends each new line, and
    `None` when the log was changed as a whole; `chosen` sends this object when a person has chosen something that is to
    survive a restart."""

    def __init__(
        self, port: ServerPort, options: ServerOptions, clock: Callable[[], float], *, is_wanted: bool
    ) -> None:
        self.changed: Notice[ServerState] = Notice()
        self.logged: Notice[RequestLine | None] = Notice()
        self.chosen: Notice[ServerState] = Notice()
        self.switch = Switch.OFF
        self.options = options
        self.is_wanted = is_wanted
        """Where a person left the switch, whatever came of it."""
        self.address = ""
        """Without a path; empty unless it is on."""
        self.failure: ServerFailed | None = None
        self.key = ""
        """Empty until it has been read."""
        self.key_note = ""
        self.key_problem: KeyRefused | None = None
        self.is_key_shown = False
        self.origins_problem = ""
        self.log = RequestLog(clock)
        self._port = port
        self._running: ServerOptions | None = None
        self._has_old_key = False
        self._asked_for_key = False

    @property
    def is_on(self) -> bool:
        return self.switch is Switch.ON

    @property
    def looks_on(self) -> bool:
        """How a switch shows it: what a person wants, unless that did not work."""
        return self.is_wanted and self.switch not in (Switch.OFF, Switch.FAILED)

    @property
    def is_restarting(self) -> bool:
        return self.switch is Switch.STOPPING and self.is_wanted

    @property
    def masked_key(self) -> str:
        """Its last letters tell one key from another, and are too few to be of use."""
        kind, dash, secret = self.key.partition("-")
        if len(secret) < 16 or len(kind) > 8:
            return "•" * 12 if self.key else ""
        return f"{kind}{dash}{'•' * 12}{secret[-4:]}"

    def resume(self) -> None:
        """Turn it on if it was left on."""
        self._settle()

    def turn(self, on: bool) -> None:
        self.is_wanted = on
        if not on and self.switch is Switch.FAILED:
            self.switch, self.failure = Switch.OFF, None
        self._choose(self.options)

    def use_free_port(self) -> None:
        """After the port was taken: take the one that was offered."""
        if self.failure is not None and self.failure.free_port is not None:
            self.is_wanted = True
            self._choose(replace(self.options, port=self.failure.free_port))

    def set_port(self, port: int) -> None:
        self._choose(replace(self.options, port=port))

    def set_reach(self, reach: Reach) -> None:
        self._choose(replace(self.options, reach=reach))

    def set_switches_models(self, may: bool) -> None:
        self._choose(replace(self.options, switches_models=may))

    def set_logs_bodies(self, keep: bool) -> None:
        """Turned off, what was kept is forgotten."""
        if not keep:
            self.log.forget_bodies()
            self.logged.send(None)
        self._choose(replace(self.options, logs_bodies=keep))

    def set_origins(self, text: str) -> None:
        """What is no origin is told in `origins_problem`, and changes nothing else."""
        origins = read_origins(text)
        self.origins_problem = origins.problem
        if origins.problem:
            self.changed.send(self)
        else:
            self._choose(replace(self.options, origins=origins.found))

    def read_key(self) -> None:
        """Asks the keychain, once."""
        if not self._asked_for_key:
            self._asked_for_key = True
            self._port.key()

    def show_key(self, shown: bool) -> None:
        self.is_key_shown = shown
        self.changed.send(self)

    def renew_key(self) -> None:
        self._port.renew_key()

    def clear_log(self) -> None:
        self.log.clear()
        self.logged.send(None)

    def take(self, event: ServerEvent) -> None:
        match event:
            case RequestServed():
                line = event.line if self.options.logs_bodies else event.line.without_bodies()
                self.log.add(line)
                self.logged.send(line)
                return
            case KeyRead():
                self._has_old_key = self.key not in ("", event.key) and self._running is not None
                self.key, self.key_note, self.key_problem = event.key, event.note, None
            case KeyRefused():
                self.key_problem, self._asked_for_key = event, False
            case ServerStarted():
                self.switch, self.address = Switch.ON, event.address
            case ServerStopped():
                self.switch, self.address, self._running = Switch.OFF, "", None
            case ServerFailed():
                self.address, self._running = "", None
                self.switch = Switch.FAILED if self.is_wanted else Switch.OFF
                self.failure = event if self.is_wanted else None
        if not isinstance(event, ServerFailed):
            self._settle()
        self.changed.send(self)

    def _choose(self, options: ServerOptions) -> None:
        self.options = options
        self.chosen.send(self)
        if self.switch is Switch.FAILED and self.is_wanted:
            self.switch = Switch.OFF
        self._settle()
        self.changed.send(self)

    def _settle(self) -> None:
        """One step towards what is wanted, unless one is being made: its end leads here again."""
        if self.switch is Switch.ON and not (self.is_wanted and self._serves_as_chosen):
            self.switch = Switch.STOPPING
            self._port.stop()
        elif self.switch is Switch.OFF and self.is_wanted:
            self.switch, self.failure, self._running = Switch.STARTING, None, self.options
            self._has_old_key = False
            self.changed.send(self)
            self._asked_for_key = True
            self._port.start(self.options)

    @property
    def _serves_as_chosen(self) -> bool:
        if self._running is None or self._has_old_key:
            return False
        # What is no longer to be kept is dropped here: nobody's answer has to be cut short for that.
        return self.options in (self._running, replace(self._running, logs_bodies=False))

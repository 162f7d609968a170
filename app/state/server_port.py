"""What the window's state needs of the local API: turn it on and off, and a key; and what it hears of it.

Knows nothing of how a server runs; whoever holds the state hands the events to it.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from app.state.request_log import RequestLine

USUAL_PORT = 8080


class Reach(Enum):
    """From where the local API may be asked."""

    THIS_COMPUTER = "this-computer"
    NETWORK = "network"


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What a person chooses. As it stands, nothing is let in but programs on this computer that have the key."""

    port: int = USUAL_PORT
    reach: Reach = Reach.THIS_COMPUTER
    origins: tuple[str, ...] = ()
    """Of web pages that may ask, such as `http://localhost:3000`."""
    switches_models: bool = True
    """Whether a request that names another model on this computer has it loaded."""
    logs_bodies: bool = False
    """Whether the log keeps what was asked and answered."""


@dataclass(frozen=True, slots=True)
class ServerStarted:
    address: str
    """Without a path, such as `http://127.0.0.1:8080`; on the network the one that others reach it by."""


@dataclass(frozen=True, slots=True)
class ServerStopped:
    pass


@dataclass(frozen=True, slots=True)
class ServerFailed:
    """It could not be turned on, or has ended by itself."""

    message: str
    hint: str = ""
    free_port: int | None = None
    """Where the port was taken: another that is not."""


@dataclass(frozen=True, slots=True)
class KeyRead:
    key: str = field(repr=False)
    note: str = ""
    """What a person ought to know of it."""


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """The keychain gave no key, or took none."""

    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class RequestServed:
    line: RequestLine


ServerEvent = ServerStarted | ServerStopped | ServerFailed | KeyRead | KeyRefused | RequestServed


class ServerPort(Protocol):
    """Each call returns at once; what comes of it is an event later."""

    def start(self, options: ServerOptions) -> None:
        """Leads to `ServerStarted` or `ServerFailed`."""
        ...

    def stop(self) -> None:
        """Answers under way get some time to end. Leads to `ServerStopped`."""
        ...

    def key(self) -> None:
        """Leads to `KeyRead` or `KeyRefused`; the first time of all a key is made."""
        ...

    def renew_key(self) -> None:
        """Leads to `KeyRead` or `KeyRefused`. A server that runs has to be started anew to know it."""
        ...

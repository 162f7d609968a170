"""The socket that the local API listens on; where its port is taken, by what, and which one is free.

Knows nothing of HTTP.
"""

import contextlib
import errno
import socket

import psutil

from engine.api.errors import EngineError, Fault
from engine.serve.hosts import addresses_of_this_machine, is_wildcard
from engine.serve.settings import LOOPBACK, MOST_PORT, is_loopback

_BACKLOG = 256
_KNOCK_S = 0.2
_TRIED = 20
"""Ports after one that is taken, before any other is."""
_OUTSIDE = ("127.", "169.254.")


class PortTaken(EngineError):
    """Another program listens there."""

    code = "port_taken"
    fault = Fault.USER

    def __init__(self, message: str, hint: str = "", *, by: str = "", free_port: int | None = None) -> None:
        super().__init__(message, hint)
        self.by = by
        """Its name and process number; empty where the system does not tell."""
        self.free_port = free_port
        """Another one that is not taken."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `PortTaken`, or `EngineError` where this machine has no such address."""
    try:
        if port and _is_answered(host, port):
            raise OSError(errno.EADDRINUSE, "in use")
        return _bound(host, port)
    except socket.gaierror as error:
        raise EngineError(f"{host} is no address.", "Leave the host out.", fault=Fault.USER) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _taken(host, port) from error
        hint = "Take a port above 1023." if error.errno == errno.EACCES else f"Leave the host out for {LOOPBACK}."
        raise EngineError(f"Nothing can listen at {host}:{port}: {error.strerror}.", hint, fault=Fault.USER) from error


def address_of(listening: socket.socket, host: str) -> str:
    """What a client is given; where everybody may ask, by this machine's address in its network."""
    name, port = host.strip("[]"), listening.getsockname()[1]
    if is_wildcard(host):
        name = _network_address()
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, _, _, _, address = min(found, key=lambda each: each[0] != socket.AF_INET)
    # asyncio sends small pieces at once on sockets that say they are TCP; others keep each back for up to 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # For ports that were in use a moment ago.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError:
        listening.close()
        raise
    return listening


def _is_answered(host: str, port: int) -> bool:
    """macOS lets two programs listen at one port, where one of them does so everywhere and the other does not."""
    if not is_wildcard(host) and not is_loopback(host):
        return False
    try:
        socket.create_connection((LOOPBACK, port), _KNOCK_S).close()
    except OSError:
        return False
    return True


def _taken(host: str, port: int) -> PortTaken:
    by, free = holder_of(port), _free_port(host, port)
    return PortTaken(
        f"The port {port} is taken by {by or 'another program'}.",
        f"End it, or take another port; {free} is free." if free else "End it, or take another port.",
        by=by,
        free_port=free,
    )


def holder_of(port: int) -> str:
    """Such as "python (process 123)"; empty where the system does not tell."""
    for process in psutil.process_iter(["name"]):
        # Those of other users, and those that end meanwhile.
        with contextlib.suppress(psutil.Error):
            for connection in process.net_connections(kind="tcp"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return f"{process.info['name']} (process {process.pid})"
    return ""


def _free_port(host: str, taken: int) -> int | None:
    for port in range(taken + 1, min(taken + _TRIED, MOST_PORT) + 1):
        with contextlib.suppress(OSError):
            if not _is_answered(host, port):
                _bound(host, port).close()
                return port
    return None


def _network_address() -> str:
    found = sorted(name for name in addresses_of_this_machine() if "." in name and not name.startswith(_OUTSIDE))
    return found[0] if found else LOOPBACK

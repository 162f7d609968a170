"""Turns away requests that call this server by a name that is not its own.

A web page can make a name of its own point at this machine (DNS rebinding), and then is of the same origin as the
server; but its requests say that name. Knows nothing of who asks.
"""

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.serve.error_response import refuse
from engine.serve.failures import Refused
from engine.serve.guards.headers import values_of
from engine.serve.hosts import addresses_of_this_machine, bare, is_wildcard
from engine.serve.settings import ServeSettings

_OWN = frozenset({"127.0.0.1", "localhost", "::1"})
_PORT = re.compile(r"[0-9]{0,5}")


class HostGuard:
    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._names = _OWN | {bare(settings.host), *map(bare, settings.allowed_hosts)}
        self._listens_everywhere = is_wildcard(settings.host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (error := self._objection(scope)) is not None:
            await refuse(scope, receive, send, error)
            return
        await self._app(scope, receive, send)

    def _objection(self, scope: Scope) -> Refused | None:
        given = values_of(scope, b"host")
        if len(given) != 1:
            return Refused("The Host header is missing, or there are several.", code="bad_host")
        name = without_port(given[0])
        if name is None:
            return Refused("The Host header is not of the form name:port.", code="bad_host")
        if name in self._names or (self._listens_everywhere and name in addresses_of_this_machine()):
            return None
        return Refused(
            "The server is not known by the name in the Host header.",
            "Use its address, or allow the name in its settings.",
            status=403,
            code="host_not_allowed",
        )


def without_port(host: str) -> str | None:
    """The bare name of `name:port`, `[address]:port` or either without; `None` for anything else."""
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        port = port[1:]
    else:
        name, _, port = host.partition(":")
    if not name or not _PORT.fullmatch(port) or any(letter in name for letter in "@/\\?# ,"):
        return None
    return bare(name)

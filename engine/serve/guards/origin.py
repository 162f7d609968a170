"""Lets web pages in only when their origin is allowed, and tells browsers so (CORS).

Programs that are no browsers send no Origin and are none of its business.
"""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.error_response import refuse
from engine.serve.failures import Refused
from engine.serve.guards.headers import values_of
from engine.serve.settings import ServeSettings

_METHODS = b"GET, POST, DELETE, OPTIONS"
_NAMES = re.compile(r"[A-Za-z0-9-]+(\s*,\s*[A-Za-z0-9-]+)*")
_REMEMBERED_S = b"600"
_READABLE = b"retry-after, request-id, x-request-id"


class OriginGuard:
    def __init__(self, app: ASGIApp, settings: ServeSettings) -> None:
        self._app = app
        self._allowed = frozenset(origin.lower() for origin in settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = values_of(scope, b"origin") if scope["type"] == "http" else []
        if not origins:
            await self._app(scope, receive, send)
            return
        if len(origins) > 1 or origins[0].lower() not in self._allowed:
            error = Refused(
                "Web pages of this origin may not ask.",
                "Allow the origin in the settings of the server.",
                status=403,
                code="origin_not_allowed",
            )
            await refuse(scope, receive, send, error)
            return
        allowed = [(b"access-control-allow-origin", origins[0].encode("latin-1")), (b"vary", b"Origin")]
        if scope["method"] == "OPTIONS" and values_of(scope, b"access-control-request-method"):
            headers = [*allowed, *_preflight_headers(scope)]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        allowed.append((b"access-control-expose-headers", _READABLE))

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *allowed]
            await send(message)

        await self._app(scope, receive, told)


def _preflight_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The page is allowed, and so is every header that it may want to send: clients add many of their own."""
    headers = [(b"access-control-allow-methods", _METHODS), (b"access-control-max-age", _REMEMBERED_S)]
    asked = ", ".join(values_of(scope, b"access-control-request-headers"))
    if _NAMES.fullmatch(asked):
        headers.append((b"access-control-allow-headers", asked.encode("latin-1")))
    if values_of(scope, b"access-control-request-private-network") == ["true"]:
        headers.append((b"access-control-allow-private-network", b"true"))
    return headers

"""Lets nobody in without a key, but for the one route that says nothing.

Leaves behind who it was. Knows nothing of routes.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.serve.desk import CALLER, Caller
from engine.serve.error_response import refuse
from engine.serve.failures import Refused
from engine.serve.guards.headers import values_of
from engine.serve.keys import KeyRing

OPEN_PATH = "/health"
_OPEN_METHODS = ("GET", "HEAD")


class KeyGuard:
    def __init__(self, app: ASGIApp, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or (scope["path"] == OPEN_PATH and scope["method"] in _OPEN_METHODS):
            await self._app(scope, receive, send)
            return
        tenant = self._keys.tenant_of(offered_keys(scope))
        if tenant is None:
            error = Refused(
                "The key is missing or not right.",
                "Send it as `Authorization: Bearer KEY` or as `x-api-key: KEY`.",
                status=401,
                code="invalid_api_key",
            )
            await refuse(scope, receive, send, error, {"www-authenticate": "Bearer"})
            return
        scope[CALLER] = Caller(tenant, (scope.get("client") or ("",))[0])
        await self._app(scope, receive, send)


def offered_keys(scope: Scope) -> list[str]:
    """Both headers: some clients send two, of which one is a leftover."""
    found = values_of(scope, b"x-api-key")
    for value in values_of(scope, b"authorization"):
        scheme, _, key = value.partition(" ")
        if scheme.lower() == "bearer":
            found.append(key.strip())
    return found

"""Lets in no body that is not declared to be JSON.

A web page can send forms and plain text anywhere without asking; JSON it cannot. Knows nothing of what is in a body.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from engine.serve.error_response import refuse
from engine.serve.failures import Refused
from engine.serve.guards.headers import values_of


class ContentTypeGuard:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and has_body(scope) and not _is_json(values_of(scope, b"content-type")):
            error = Refused(
                "The body is not declared to be JSON.",
                "Send the header Content-Type: application/json.",
                status=415,
                code="unsupported_media_type",
            )
            await refuse(scope, receive, send, error)
            return
        await self._app(scope, receive, send)


def has_body(scope: Scope) -> bool:
    return bool(values_of(scope, b"transfer-encoding")) or values_of(scope, b"content-length") not in ([], ["0"])


def _is_json(types: list[str]) -> bool:
    return len(types) == 1 and types[0].partition(";")[0].strip().lower() == "application/json"

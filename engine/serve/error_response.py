"""An error as a whole HTTP answer, in the protocol of the route that was asked.

Knows nothing of what went wrong beyond what a client may be told.
"""

from collections.abc import Mapping

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from engine.api.errors import EngineError
from engine.serve.failures import error_body, failure_of, protocol_of, retry_header
from engine.serve.request_log import tally_of
from engine.serve.sse import json_bytes


def error_response(scope: Scope, error: EngineError, headers: Mapping[str, str] | None = None) -> Response:
    failure, tally = failure_of(error), tally_of(scope)
    tally.error = failure.code
    body = error_body(protocol_of(scope["path"]), failure)
    if "request_id" in body:
        body["request_id"] = tally.number
    return Response(
        json_bytes(body),
        failure.status,
        {**retry_header(failure), **(headers or {})},
        "application/json",
    )


async def refuse(
    scope: Scope, receive: Receive, send: Send, error: EngineError, headers: Mapping[str, str] | None = None
) -> None:
    """For guards: the answer, without the application having been asked."""
    await error_response(scope, error, headers)(scope, receive, send)

"""An error as a whole HTTP answer, in the protocol of the route that was asked.

Knows nothing of what went wrong beyond what a client may be told.
"""

import json
from collections.abc import Mapping

from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from engine.api.errors import EngineError
from engine.serve.failures import error_body, failure_of, protocol_of, retry_header
from engine.serve.request_log import tally_of


def error_response(scope: Scope, error: EngineError, headers: Mapping[str, str] | None = None) -> Response:
    failure = failure_of(error)
    tally_of(scope).error = failure.code
    return Response(
        json.dumps(error_body(protocol_of(scope["path"]), failure), ensure_ascii=False).encode(errors="replace"),
        failure.status,
        {**retry_header(failure), **(headers or {})},
        "application/json",
    )


async def refuse(
    scope: Scope, receive: Receive, send: Send, error: EngineError, headers: Mapping[str, str] | None = None
) -> None:
    """For guards: the answer, without the application having been asked."""
    await error_response(scope, error, headers)(scope, receive, send)

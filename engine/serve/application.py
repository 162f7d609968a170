"""The application: guards, routes and errors joined. The only place that knows all routes.

Knows nothing of sockets and threads.
"""

import functools
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from fastapi import FastAPI, Response
from fastapi import Request as HttpRequest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from engine.api.errors import EngineError, InternalError
from engine.client import EngineClient
from engine.serve.board import Board
from engine.serve.desk import Desk, Settle
from engine.serve.error_response import error_response
from engine.serve.failures import Protocol, Refused, error_schema
from engine.serve.guards.body_size import BodySizeGuard
from engine.serve.guards.content_type import ContentTypeGuard
from engine.serve.guards.host import HostGuard
from engine.serve.guards.key import KeyGuard
from engine.serve.guards.origin import OriginGuard
from engine.serve.keys import KeyRing
from engine.serve.media.policy import MediaPolicy
from engine.serve.request_log import Logged, Observer
from engine.serve.routes import (
    admin,
    aliases,
    cache,
    chat,
    completions,
    embeddings,
    health,
    messages,
    metrics,
    models,
    responses,
    tokenize,
)
from engine.serve.settings import ServeSettings
from engine.serve.validation import field_names, refused_body

_ROUTES = (
    *(health, chat, completions, embeddings, tokenize, messages, responses),
    *(aliases, admin, models, cache, metrics),
)
"""Each has a `router(desk)`. Those with longer paths come before those that would take them for ids."""

_WORDS = {404: "There is no such route.", 405: "This route is asked in another way."}


@dataclass(frozen=True, slots=True)
class Application:
    app: ASGIApp = field(repr=False)
    """What a server runs: the outermost layer."""
    desk: Desk
    api: FastAPI = field(repr=False)
    """Without guards; has the OpenAPI schema."""


def build_application(
    client: EngineClient,
    settings: ServeSettings,
    board: Board,
    observers: tuple[Observer, ...] = (),
    *,
    settle: Settle | None = None,
) -> Application:
    """`observers` hear of each request once it is over, on the server's thread. `settle` is in place of what makes
    media bytes."""
    desk = Desk(client, settings, board, settle or MediaPolicy(settings.media).settle)
    # The pages that show a schema come from elsewhere on the web; the schema itself is behind the key.
    api = FastAPI(title="Fovea", docs_url=None, redoc_url=None, redirect_slashes=False)
    for family in _ROUTES:
        api.include_router(family.router(desk), responses={"default": _on_error(family)})
    _add_failures(api)
    return Application(_guarded(api, settings, (desk.metrics.observe, *observers)), desk, api)


def _on_error(family: ModuleType) -> dict[str, Any]:
    """For the schema: what an answer is whose status says that something went wrong."""
    form = error_schema(Protocol.ANTHROPIC if family is messages else Protocol.OPENAI)
    return {"description": "An error.", "content": {"application/json": {"schema": form}}}


def _guarded(api: ASGIApp, settings: ServeSettings, observers: tuple[Observer, ...]) -> ASGIApp:
    """The innermost first: nobody's body is read before it is known who it is."""
    app = BodySizeGuard(api, settings.limits)
    app = ContentTypeGuard(app)
    app = KeyGuard(app, KeyRing(settings.keys, required=settings.key_required))
    app = OriginGuard(app, settings)
    app = HostGuard(app, settings)
    return Logged(app, observers)


def _add_failures(api: FastAPI) -> None:
    @functools.cache
    def names() -> frozenset[str]:
        return field_names(api.openapi())

    async def on_engine_error(http: HttpRequest, error: Exception) -> Response:
        told = error if isinstance(error, EngineError) else InternalError("Something went wrong.")
        return error_response(http.scope, told)

    async def on_bad_body(http: HttpRequest, error: RequestValidationError) -> Response:
        return error_response(http.scope, refused_body(error, names()))

    async def on_http_error(http: HttpRequest, error: HTTPException) -> Response:
        status = error.status_code
        words = _WORDS.get(status, "The request cannot be read.")
        return error_response(http.scope, Refused(words, status=status, code=f"http_{status}"), error.headers)

    api.add_exception_handler(EngineError, on_engine_error)
    api.add_exception_handler(Exception, on_engine_error)
    api.add_exception_handler(RequestValidationError, on_bad_body)
    api.add_exception_handler(HTTPException, on_http_error)

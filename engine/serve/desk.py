"""What every route needs: the settings, what is loaded, and the one way in which an answer is asked for and sent.

Knows no protocol: a writer, made for each answer, knows the shapes.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request as HttpRequest
from fastapi import Response

from engine.api.events import Finished
from engine.api.request import GenerateRequest, Request
from engine.client import EngineClient
from engine.serve.board import Board
from engine.serve.settings import ServeSettings
from engine.serve.wire.frames import AnswerFacts, Writer

CALLER = "fovea.caller"
"""Where the key's guard leaves the caller, in the scope of a request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. A dependency of routes: `caller: Annotated[Caller, Depends(caller_of)]`."""

    tenant: str
    """Salt of the prefix cache, from the authenticated key."""
    client: str
    """For the log."""
    is_admin: bool = True
    """Whether models may be loaded and unloaded."""


def caller_of(http: HttpRequest) -> Caller:
    return http.scope[CALLER]


class Desk:
    def __init__(self, client: EngineClient, settings: ServeSettings, board: Board) -> None:
        self.client = client
        self.settings = settings
        self.board = board

    async def answer(
        self,
        http: HttpRequest,
        caller: Caller,
        request: GenerateRequest,
        make_writer: Callable[[AnswerFacts], Writer],
        *,
        model: str,
        stream: bool,
    ) -> Response:
        """Admit, settle the media, ask, and send what comes: as a stream, or in one piece. `model` is what the client
        is to read. The response does all of it when it is sent; an `EngineError` before that is the route's answer."""
        raise NotImplementedError

    async def ask(self, request: Request, *, timeout: float | None = None) -> Finished:
        """A side request, to its end. Raises the `EngineError` it failed with; cancelled when nobody waits any more."""
        raise NotImplementedError

    async def resolve_model(self, asked: str | None) -> str:
        """The source of the model that is meant, which is loaded by then.

        Raises `ModelNotFound` for one that is not on this machine or not allowed, `Overloaded` while one is loading.
        """
        raise NotImplementedError

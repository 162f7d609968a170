"""What every route needs: the settings, what is loaded, and the one way in which an answer is asked for and sent.

Knows no protocol: a writer, made for each answer, knows the shapes.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from fastapi import Request as HttpRequest
from fastapi import Response
from starlette.types import Scope

from engine.api.errors import NoModelError
from engine.api.events import CacheReport, Failed, Finished, LocalModel
from engine.api.request import CacheStats, GenerateRequest, ListModels, LoadModel, Priority, Request, UnloadModel
from engine.client import EngineClient
from engine.serve.admission import Admission
from engine.serve.answering import AnswerResponse, Question, left
from engine.serve.board import Board
from engine.serve.catalogue import Catalogue, id_of
from engine.serve.failures import ModelNotFound, Overloaded, Refused
from engine.serve.metrics import Metrics
from engine.serve.request_log import tally_of
from engine.serve.settings import FOREIGN, ServeSettings
from engine.serve.stream import Stream
from engine.serve.wire.frames import AnswerFacts, Writer

CALLER = "fovea.caller"
"""Where the key's guard leaves the caller, in the scope of a request."""

Settle = Callable[[GenerateRequest], Awaitable[GenerateRequest]]
"""Makes every reference to media bytes, or refuses it (`engine.serve.media`)."""

_LOADING_RETRY_S = 5.0
_CACHE_S = 1.0
"""How long the engine is waited for when somebody only wants to see its caches."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. A dependency of routes: `caller: Annotated[Caller, Depends(caller_of)]`."""

    tenant: str
    """Salt of the prefix cache, from the authenticated key."""
    client: str
    """For the log."""
    is_admin: bool = True
    """Whether models may be loaded and unloaded."""


async def caller_of(http: HttpRequest) -> Caller:
    return http.scope[CALLER]


class Desk:
    """Lives on the server's event loop."""

    def __init__(self, client: EngineClient, settings: ServeSettings, board: Board, settle: Settle) -> None:
        self.client = client
        self.settings = settings
        self.board = board
        self.settle = settle
        self.admission = Admission(settings.limits)
        self.metrics = Metrics(self.admission, board)
        self.catalogue = Catalogue(settings, board, self._list_local)
        self.answers: set[AnswerResponse] = set()
        """Under way."""
        self.hang_up: Callable[[Scope], None] = lambda scope: None
        """Breaks off the connection of a request, with what has not been taken of it. Whoever has sockets sets it."""
        self._loading = False

    async def answer(
        self,
        caller: Caller,
        request: GenerateRequest,
        make_writer: Callable[[AnswerFacts], Writer],
        *,
        source: str,
        asked: str | None,
        stream: bool | None,
    ) -> Response:
        """Admit, settle the media, ask, and send what comes: as a stream, or in one piece. `source` is the model's, as
        `resolve_model` found it, and `asked` what the client called it, which is what it reads again. The response does
        all of it when it is sent; an `EngineError` before that is the route's answer."""
        if request.top_logprobs > self.settings.top_logprobs:
            most = self.settings.top_logprobs
            raise Refused(f"At most {most} top_logprobs may be asked for here.", param="top_logprobs")
        request = replace(
            request,
            model=source,
            tenant=caller.tenant,
            priority=Priority.API,
            template_options=self.template_options(request.template_options),
        )
        facts = AnswerFacts(secrets.token_hex(12), asked or id_of(source), int(time.time()))
        return AnswerResponse(self, Question(request, make_writer(facts), facts.model, bool(stream)))

    def template_options(self, asked: tuple[tuple[str, object], ...]) -> tuple[tuple[str, object], ...]:
        """What a request says of them, and what the settings say of the others."""
        return tuple({**dict(self.settings.template_options), **dict(asked)}.items())

    async def ask(self, request: Request, *, timeout: float | None = None, http: HttpRequest | None = None) -> Finished:
        """A side request, to its end. Raises the `EngineError` it failed with, or `Overloaded` after `timeout` seconds
        (those of the settings by default); cancelled where nobody waits any more, so also when the client of `http`
        goes."""
        limit = self.settings.limits.side_s if timeout is None else timeout
        with self.admission.side_request():
            stream = Stream(self.client, request)
            end = asyncio.ensure_future(self._end_of(stream))
            tasks = [end] if http is None else [end, asyncio.ensure_future(left(http.receive))]
            try:
                done, _ = await asyncio.wait(tasks, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
                if end in done:
                    finished = end.result()
                    if http is not None:
                        tally_of(http.scope).usage = finished.usage
                    return finished
                if done:
                    raise Refused("The client has gone.", status=499, code="client_gone")
                raise Overloaded("The engine is busy.", "Try again later.", code="timeout", retry_after_s=5.0)
            finally:
                stream.cancel()
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def resolve_model(self, asked: str | None) -> str:
        """The source of the model that is meant, which is loaded by then.

        Raises `ModelNotFound` for one that is not on this machine or not allowed, `Overloaded` while one is loading.
        """
        self.admission.check_open()
        loaded = self.board.model
        if not asked or self._is_foreign(asked):
            if loaded is not None and not self._is_loading:
                return loaded.source
            self._check_not_loading()
            raise NoModelError("No model is loaded.", "Name one of those that /v1/models lists.")
        entry = await self.catalogue.find(asked)
        if entry is None:
            raise ModelNotFound("There is no such model here.", "See /v1/models for those that there are.")
        self._check_not_loading()
        if not entry.is_loaded:
            if not self.settings.switching:
                raise ModelNotFound("This model is not loaded, and requests may not load one.", code="model_not_loaded")
            await self._load(entry.source)
        return entry.source

    def _is_foreign(self, asked: str) -> bool:
        return self.settings.foreign_names and asked.startswith(FOREIGN) and not self.catalogue.is_near(asked)

    async def load(self, asked: str) -> str:
        """What an administrator's request does; else as `resolve_model`. Loading what is loaded changes nothing."""
        entry = await self.catalogue.find(asked)
        if entry is None:
            raise ModelNotFound("There is no such model here.", "See /v1/models for those that there are.")
        self._check_not_loading()
        if not entry.is_loaded:
            await self._load(entry.source)
        return entry.source

    async def unload(self) -> None:
        self._check_not_loading()
        await self.ask(UnloadModel(), timeout=None)

    async def look_at_caches(self) -> CacheReport | None:
        """As they are, or as they were when the engine last had time to say."""
        try:
            self.metrics.cache = (await self.ask(CacheStats(), timeout=_CACHE_S)).cache
        except (NoModelError, Overloaded):
            return self.metrics.cache
        return self.metrics.cache

    def stop_answers(self) -> None:
        """Those that have not ended by themselves while the server was drained."""
        for answer in list(self.answers):
            answer.stop()

    @property
    def _is_loading(self) -> bool:
        return self._loading or bool(self.board.loading)

    def _check_not_loading(self) -> None:
        if self._is_loading:
            raise Overloaded(
                "A model is being loaded.", "Try again later.", code="model_loading", retry_after_s=_LOADING_RETRY_S
            )

    async def _load(self, source: str) -> None:
        """Goes on when the client that asked for it goes: others may want the model as well."""
        known = {load.source: load for load in self.settings.loads}
        request = replace(known.get(source, LoadModel(source)), download=False)
        self._loading = True
        stream = Stream(self.client, request)
        stream.when_ended(self._loaded)
        end = await self._end_of(stream)
        if not end.model:
            raise Overloaded("Loading was stopped.", "Try again.", code="model_loading", retry_after_s=1.0)

    def _loaded(self) -> None:
        self._loading = False

    async def _end_of(self, stream: Stream) -> Finished:
        while True:
            events = await stream.next()
            # What a load says of the engine may come sooner than what the board hears.
            self.board.take(events)
            for event in events:
                if isinstance(event, Failed):
                    raise event.to_error()
                if isinstance(event, Finished):
                    return event

    async def _list_local(self) -> tuple[LocalModel, ...]:
        return (await self.ask(ListModels())).models

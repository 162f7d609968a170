"""`/v1/responses` and what is kept below it. Knows nothing of what is in a body or an answer.

The same paths work without `/v1`, for clients of mlx-vlm; they share what is kept.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.failures import Refused
from engine.serve.kept_response import KeptResponse, KeptWriter
from engine.serve.response_store import ResponseStore
from engine.serve.routes.counting import count
from engine.serve.wire.body import not_supported
from engine.serve.wire.frames import AnswerFacts, Json, Writer
from engine.serve.wire.item_page import PageQuery, page_of
from engine.serve.wire.responses import input_tokens_request, repeated, responses_request
from engine.serve.wire.responses_body import KeptItem, PromptBody, ResponsesBody
from engine.serve.wire.responses_items import given_items, kept_items, read_items
from engine.serve.wire.responses_writer import ResponsesWriter, manner_of

_PATH = "/v1/responses"
_ALIAS = "/responses"
_Who = Annotated[Caller, Depends(caller_of)]


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()
    responses = _Responses(desk, ResponseStore())
    for method, path, endpoint in (
        ("POST", "", responses.create),
        ("POST", "/input_tokens", responses.count_input),
        ("GET", "/{response_id}", responses.retrieve),
        ("DELETE", "/{response_id}", responses.delete),
        ("POST", "/{response_id}/cancel", responses.cancel),
        ("GET", "/{response_id}/input_items", responses.list_input),
    ):
        _add(routes, method, path, endpoint)
    return routes


def _add(routes: APIRouter, method: str, path: str, endpoint: Callable[..., Any]) -> None:
    routes.add_api_route(_PATH + path, endpoint, methods=[method], response_model=None)
    routes.add_api_route(_ALIAS + path, endpoint, methods=[method], response_model=None, include_in_schema=False)


class _Responses:
    """The routes, around what they share."""

    def __init__(self, desk: Desk, store: ResponseStore) -> None:
        self._desk = desk
        self._store = store

    async def create(self, body: ResponsesBody, caller: _Who) -> Response:
        before, given = self._items(body, caller)
        request = responses_request(body, [*before, *given], tenant=caller.tenant)
        source = await self._desk.resolve_model(body.model)
        kept: list[KeptWriter] = []

        def make_writer(facts: AnswerFacts) -> Writer:
            writer = ResponsesWriter(facts, repeated(body), manner_of(body))
            if not body.is_kept:
                return writer
            items = kept_items(given, facts.number)
            kept.append(KeptWriter(writer, self._store, caller.tenant, items, body.previous_response_id))
            return kept[-1]

        answer = await self._desk.answer(
            caller, request, make_writer, source=source, asked=body.model, stream=body.stream
        )
        return KeptResponse(answer, kept[-1]) if kept else answer

    async def count_input(self, body: PromptBody, http: Request, caller: _Who) -> Json:
        before, given = self._items(body, caller)
        request = input_tokens_request(body, [*before, *given], tenant=caller.tenant)
        finished = await count(self._desk, http, caller, request, body.model)
        return {"object": "response.input_tokens", "input_tokens": finished.usage.prompt_tokens}

    async def retrieve(self, response_id: str, caller: _Who, stream: bool = False) -> Json:
        if stream:
            raise not_supported("stream", "The events of an answer are sent once; ask for the response itself.")
        return self._store.get(caller.tenant, response_id).response

    async def delete(self, response_id: str, caller: _Who) -> Json:
        self._store.remove(caller.tenant, response_id)
        return {"id": response_id, "object": "response", "deleted": True}

    async def cancel(self, response_id: str, caller: _Who) -> Json:
        """Whoever waits for the answer gets what there is of it."""
        kept = self._store.get(caller.tenant, response_id)
        if kept.is_open:
            self._desk.client.cancel(kept.request_id)
            return {**kept.response, "status": "cancelled"}
        if kept.response["status"] == "cancelled":
            return kept.response
        raise Refused("The response has ended already.", code="response_ended")

    async def list_input(self, response_id: str, caller: _Who, query: Annotated[PageQuery, Query()]) -> Json:
        return page_of(self._store.heard(caller.tenant, response_id), query)

    def _items(self, body: PromptBody, caller: Caller) -> tuple[Sequence[KeptItem], Sequence[KeptItem]]:
        """Those of the conversation before, and those that the body adds."""
        before = self._store.conversation(caller.tenant, body.previous_response_id)
        given = given_items(body.input, lambda name: self._store.item(caller.tenant, name))
        return read_items(before), given

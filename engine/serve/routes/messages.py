"""`POST /v1/messages` and `/v1/messages/count_tokens`. Knows nothing of what is in a body or an answer.

Clients add `?beta=true` and headers such as `anthropic-version`, which change nothing here.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.routes.counting import count
from engine.serve.wire.frames import AnswerFacts, Json
from engine.serve.wire.messages import Mind, count_request, messages_request
from engine.serve.wire.messages_body import CountBody, MessagesBody
from engine.serve.wire.messages_writer import MessagesWriter, manner_of


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    def mind() -> Mind:
        loaded = desk.board.model
        return Mind(
            can_think=loaded is not None and loaded.capabilities.thinking,
            unasked=bool(dict(desk.settings.template_options).get("enable_thinking", False)),
        )

    @routes.post("/v1/messages", response_model=None)
    async def create_message(body: MessagesBody, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
        source = await desk.resolve_model(body.model)
        request = messages_request(body, mind(), tenant=caller.tenant)

        def make_writer(facts: AnswerFacts) -> MessagesWriter:
            return MessagesWriter(facts, manner_of(body))

        return await desk.answer(caller, request, make_writer, source=source, asked=body.model, stream=body.stream)

    @routes.post("/v1/messages/count_tokens", response_model=None)
    async def count_tokens(body: CountBody, http: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Json:
        request = count_request(body, mind(), tenant=caller.tenant)
        finished = await count(desk, http, caller, request, body.model)
        return {"input_tokens": finished.usage.prompt_tokens}

    return routes

"""`POST /v1/chat/completions`. Knows nothing of what is in a body or an answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.wire.chat import ChatWriter
from engine.serve.wire.chat_body import ChatBody, chat_request
from engine.serve.wire.frames import AnswerFacts


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/chat/completions", response_model=None)
    async def create_chat_completion(body: ChatBody, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
        request = chat_request(body, tenant=caller.tenant)
        source = await desk.resolve_model(body.model)

        def make_writer(facts: AnswerFacts) -> ChatWriter:
            return ChatWriter(
                facts,
                logprobs=request.logprobs,
                tells_usage=body.tells_usage,
                one_call=body.parallel_tool_calls is False,
            )

        return await desk.answer(caller, request, make_writer, source=source, asked=body.model, stream=body.stream)

    return routes

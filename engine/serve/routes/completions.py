"""`POST /v1/completions`. Knows nothing of what is in a body or an answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.wire.completions import CompletionsWriter
from engine.serve.wire.completions_body import CompletionsBody, completions_request
from engine.serve.wire.frames import AnswerFacts


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/completions", response_model=None)
    async def create_completion(body: CompletionsBody, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
        request = completions_request(body, tenant=caller.tenant)
        source = await desk.resolve_model(body.model)

        def make_writer(facts: AnswerFacts) -> CompletionsWriter:
            return CompletionsWriter(facts, logprobs=body.logprobs, tells_usage=body.tells_usage)

        return await desk.answer(caller, request, make_writer, source=source, asked=body.model, stream=body.stream)

    return routes

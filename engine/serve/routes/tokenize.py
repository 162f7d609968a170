"""`POST /v1/tokenize`. Knows nothing of what is in a body or an answer."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.routes.counting import count
from engine.serve.wire.frames import Json
from engine.serve.wire.tokenize import TokenizeBody, tokenize_object, tokenize_request


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/tokenize", response_model=None)
    async def tokenize(body: TokenizeBody, http: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Json:
        request = tokenize_request(body, tenant=caller.tenant)
        return tokenize_object(await count(desk, http, caller, request, body.model))

    return routes

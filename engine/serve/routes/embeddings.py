"""`POST /v1/embeddings`. Knows nothing of what is in a body or an answer."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from engine.serve.catalogue import id_of
from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.wire.embeddings import EmbeddingsBody, embed_request, embeddings_object
from engine.serve.wire.frames import Json

_LONGEST_S = 600.0
"""Many long texts take their time; a client that goes before ends it."""


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/embeddings", response_model=None)
    async def create_embeddings(
        body: EmbeddingsBody, http: Request, caller: Annotated[Caller, Depends(caller_of)]
    ) -> Json:
        request = embed_request(body, tenant=caller.tenant)
        source = await desk.resolve_model(body.model)
        finished = await desk.ask(replace(request, model=source), timeout=_LONGEST_S, http=http)
        return embeddings_object(finished, body, model=body.model or id_of(source))

    return routes

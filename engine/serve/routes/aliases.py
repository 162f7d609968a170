"""The paths of mlx-vlm's older servers: OpenAI's without `/v1`, and `POST /generate`.

Knows nothing of what they do. They work, and are not written down in the schema.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.routes import chat, completions, embeddings, tokenize
from engine.serve.wire.generate import GenerateBody, GenerateWriter, generate_request

_VERSION = "/v1"
_FAMILIES = (chat, completions, embeddings, tokenize)


def router(desk: Desk) -> APIRouter:
    routes = APIRouter(include_in_schema=False)
    for family in _FAMILIES:
        for route in family.router(desk).routes:
            if isinstance(route, APIRoute):
                path = route.path.removeprefix(_VERSION)
                routes.add_api_route(path, route.endpoint, methods=list(route.methods), response_model=None)

    @routes.post("/generate", response_model=None)
    async def generate(body: GenerateBody, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
        request = generate_request(body, tenant=caller.tenant)
        source = await desk.resolve_model(body.model)
        return await desk.answer(caller, request, GenerateWriter, source=source, asked=body.model, stream=body.stream)

    return routes

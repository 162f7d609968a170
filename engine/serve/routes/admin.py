"""`/v1/models/load` and `/v1/models/unload`: changing what is loaded, for those whose key allows it."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from engine.serve.desk import Caller, Desk, caller_of
from engine.serve.failures import Refused


class LoadBody(BaseModel):
    model_config = ConfigDict(extra="ignore")

    model: str = Field(min_length=1, max_length=1024)
    """One of those that `/v1/models` lists; never a folder or an address."""


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/models/load")
    async def load(body: LoadBody, caller: Annotated[Caller, Depends(_administrator)]) -> dict[str, str]:
        await desk.load(body.model)
        return {"status": "loaded", "model": body.model}

    @routes.post("/v1/models/unload")
    @routes.post("/unload", include_in_schema=False)
    async def unload(caller: Annotated[Caller, Depends(_administrator)]) -> dict[str, str]:
        await desk.unload()
        return {"status": "unloaded"}

    return routes


async def _administrator(caller: Annotated[Caller, Depends(caller_of)]) -> Caller:
    if not caller.is_admin:
        raise Refused("This key may not load or unload models.", status=403, code="not_allowed")
    return caller

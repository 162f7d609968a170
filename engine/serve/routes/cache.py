"""`/v1/cache`: what the loaded model's caches hold and have saved, and forgetting it."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from engine.api.request import CacheStats, ResetCaches
from engine.serve.desk import Caller, Desk, caller_of


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    async def report(request: CacheStats | ResetCaches) -> dict[str, Any]:
        found = (await desk.ask(request)).cache
        return {} if found is None else asdict(found)

    @routes.get("/v1/cache/stats")
    async def stats() -> dict[str, Any]:
        return await report(CacheStats())

    @routes.post("/v1/cache/reset")
    async def reset(caller: Annotated[Caller, Depends(caller_of)]) -> dict[str, Any]:
        """What all keys have left there: the caches are the model's."""
        return await report(ResetCaches())

    return routes

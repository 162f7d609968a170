"""`/metrics`: what Prometheus collects. Needs the key as well."""

from fastapi import APIRouter, Response

from engine.serve.desk import Desk
from engine.serve.metrics import MEDIA_TYPE


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        await desk.look_at_caches()
        return Response(desk.metrics.text(), media_type=MEDIA_TYPE)

    return routes

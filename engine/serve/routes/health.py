"""`/health`: whether the server can answer, for those who watch it. Needs no key and says nothing private."""

from fastapi import APIRouter

from engine.serve.desk import Desk


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> dict[str, str]:
        """`ok`, `loading` or `no_model`. Reads what is known, and waits for nobody."""
        if desk.board.loading:
            return {"status": "loading"}
        return {"status": "ok" if desk.board.model is not None else "no_model"}

    return routes

"""`/v1/models`: which models a request may name, in OpenAI's shape."""

from typing import Any

from fastapi import APIRouter

from engine.serve.catalogue import Entry
from engine.serve.desk import Desk
from engine.serve.failures import ModelNotFound

_OWNER = "fovea"


def router(desk: Desk) -> APIRouter:
    routes = APIRouter()
    # OpenAI asks for a date, which no folder tells for sure.
    created = 0

    def model_object(entry: Entry) -> dict[str, Any]:
        info = desk.board.model if entry.is_loaded else None
        told: dict[str, Any] = {
            "id": entry.id,
            "object": "model",
            "created": created,
            "owned_by": _OWNER,
            "loaded": entry.is_loaded,
            "model_type": entry.model_type,
        }
        if info is not None:
            told["context_length"] = info.context_length
            told["modalities"] = sorted(modality.value for modality in info.modalities)
        return told

    @routes.get("/v1/models")
    @routes.get("/models", include_in_schema=False)
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [model_object(entry) for entry in await desk.catalogue.entries()]}

    @routes.get("/v1/models/{model_id:path}")
    @routes.get("/models/{model_id:path}", include_in_schema=False)
    async def model(model_id: str) -> dict[str, Any]:
        """Ids have slashes."""
        entry = await desk.catalogue.find(model_id)
        if entry is None:
            raise ModelNotFound("There is no such model here.", "See /v1/models for those that there are.")
        return model_object(entry)

    return routes

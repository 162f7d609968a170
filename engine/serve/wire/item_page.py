"""A page of a list of items, as OpenAI's clients turn them.

Knows nothing of what an item is, but for its id.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from engine.serve.wire.body import invalid
from engine.serve.wire.frames import Json


class PageQuery(BaseModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"
    after: str | None = Field(None, max_length=256)
    """The last id of the page before."""


def page_of(items: Sequence[Json], query: PageQuery) -> dict[str, Any]:
    """`items` come in the order of the conversation. Raises `Refused` for an `after` that is none of them."""
    ordered = list(items if query.order == "asc" else reversed(items))
    if query.after is not None:
        ids = [item["id"] for item in ordered]
        if query.after not in ids:
            raise invalid("after", "is the id of none of these items")
        ordered = ordered[ids.index(query.after) + 1 :]
    data = ordered[: query.limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else "",
        "last_id": data[-1]["id"] if data else "",
        "has_more": len(ordered) > len(data),
    }

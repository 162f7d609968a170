"""Responses that clients may ask for again, and go on from: in memory, the latest of each tenant.

Lives on the server's event loop, so that no lock is needed. Knows nothing of HTTP and of what is in a response.
"""

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engine.serve.failures import Refused
from engine.serve.wire.frames import Json

IN_PROGRESS = "in_progress"


class ResponseNotFound(Refused):
    """None of that id is kept for this tenant. Whether another has one is not told."""

    code = "response_not_found"
    status = 404


@dataclass(frozen=True, slots=True)
class Kept:
    response: Json = field(repr=False)
    input: Sequence[Json] = field(repr=False)
    """The items that its request added to the conversation."""
    previous: str | None = None
    """The response that it goes on from."""
    request_id: str = ""
    """The engine's, while it is in progress."""

    @property
    def id(self) -> str:
        return self.response["id"]

    @property
    def is_open(self) -> bool:
        return self.response["status"] == IN_PROGRESS


@dataclass(slots=True)
class _Shelf:
    """Of one tenant, what was used last at its end."""

    kept: OrderedDict[str, Kept] = field(default_factory=OrderedDict)
    sizes: dict[str, int] = field(default_factory=dict)
    bytes: int = 0

    def drop(self, name: str) -> None:
        if self.kept.pop(name, None) is not None:
            self.bytes -= self.sizes.pop(name)


class ResponseStore:
    def __init__(self, most: int = 1_000, most_bytes: int = 256 << 20) -> None:
        """Both of one tenant. What is kept beyond them is forgotten, what was not used for longest first."""
        self._most = most
        self._most_bytes = most_bytes
        self._shelves: dict[str, _Shelf] = {}

    def put(self, tenant: str, kept: Kept) -> None:
        """In place of what is kept under the same id."""
        shelf = self._shelves.setdefault(tenant, _Shelf())
        shelf.drop(kept.id)
        size = _size(kept.response) + _size(kept.input)
        shelf.kept[kept.id], shelf.sizes[kept.id] = kept, size
        shelf.bytes += size
        while len(shelf.kept) > self._most or shelf.bytes > self._most_bytes:
            shelf.drop(next(iter(shelf.kept)))

    def get(self, tenant: str, name: str) -> Kept:
        """Raises `ResponseNotFound`."""
        shelf = self._shelf(tenant)
        if name not in shelf.kept:
            raise ResponseNotFound("There is no such response.", "It may have been deleted, or too long ago.")
        return shelf.kept[name]

    def remove(self, tenant: str, name: str) -> None:
        """Raises `ResponseNotFound`."""
        self.get(tenant, name)
        self._shelves[tenant].drop(name)

    def finish(self, tenant: str, kept: Kept) -> None:
        """What has become of one that was in progress, unless it was deleted or forgotten on the way."""
        if kept.id in self._shelf(tenant).kept:
            self.put(tenant, kept)

    def discard_open(self, tenant: str, name: str) -> None:
        """Forget one that is in progress and will never end."""
        shelf = self._shelf(tenant)
        if name in shelf.kept and shelf.kept[name].is_open:
            shelf.drop(name)

    def conversation(self, tenant: str, name: str | None) -> list[Json]:
        """What was said up to the end of that response; nothing for `None`. Using it keeps all of it from being
        forgotten. Raises `ResponseNotFound` where a part of it is, `Refused` while it is in progress."""
        turns = list(self._turns(tenant, name))
        for kept in reversed(turns):
            self._shelves[tenant].kept.move_to_end(kept.id)
        return [item for kept in reversed(turns) for item in (*kept.input, *kept.response["output"])]

    def heard(self, tenant: str, name: str) -> list[Json]:
        """What a response was an answer to: the conversation before it, as far as it is still kept, and what its
        request added. Raises `ResponseNotFound`."""
        kept = self.get(tenant, name)
        known = self._shelf(tenant).kept
        items: list[Json] = list(kept.input)
        while (kept := known.get(kept.previous or "")) is not None:
            items[:0] = [*kept.input, *kept.response["output"]]
        return items

    def item(self, tenant: str, name: str) -> Json:
        """The latest of that id. Raises `ResponseNotFound`."""
        shelf = self._shelf(tenant)
        for kept in reversed(shelf.kept.values()):
            for item in (*kept.response["output"], *kept.input):
                if item["id"] == name:
                    return item
        raise ResponseNotFound("There is no such item.", "Send the item itself.", param="input")

    def _shelf(self, tenant: str) -> _Shelf:
        """An empty one for a tenant of whom nothing is kept."""
        return self._shelves.get(tenant) or _Shelf()

    def _turns(self, tenant: str, name: str | None) -> Iterator[Kept]:
        """The last first."""
        while name is not None:
            kept = self.get(tenant, name)
            if kept.is_open:
                raise Refused(
                    "The previous response is in progress.", "Wait for its end.", param="previous_response_id"
                )
            yield kept
            name = kept.previous


def _size(value: Any) -> int:
    """About how many bytes it takes."""
    if isinstance(value, Mapping):
        return sys.getsizeof(value) + sum(_size(key) + _size(inner) for key, inner in value.items())
    if isinstance(value, list | tuple):
        return sys.getsizeof(value) + sum(map(_size, value))
    return sys.getsizeof(value)

"""Objects that say by their `type` what they are: which model reads them, and what is said of those that none reads.

Knows no protocol.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, Field

from engine.serve.failures import Refused
from engine.serve.wire.body import invalid

OTHER = "other"
_WORD = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class Other(BaseModel):
    """Of a kind that is not supported; to be refused by its name."""

    type: Annotated[str, Field(max_length=64)]


def kind_of(value: Any) -> Any:
    return value.get("type") if isinstance(value, Mapping) else getattr(value, "type", None)


def among(known: Collection[str]) -> Callable[[Any], str]:
    """For a discriminator whose tags are the kinds themselves, and `OTHER`."""

    def tag(value: Any) -> str:
        kind = kind_of(value)
        return kind if isinstance(kind, str) and kind in known else OTHER

    return tag


def unsupported(field: str, what: str, kind: str, known: str) -> Refused:
    """`kind` is the client's own word; what is no word is not said again."""
    told = f"of the type {kind}" if _WORD.fullmatch(kind) else "of a type that is not known"
    return invalid(field, f"has {what} {told}, which is not supported", f"Supported: {known}.")

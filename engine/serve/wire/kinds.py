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
_ENDINGS = re.compile(r"(_\d{8}|_call|_call_output|_tool_result)$")
_WORDS = frozenset(
    (
        "audio",
        "base64",
        "bash",
        "code_execution",
        "code_interpreter",
        "computer",
        "computer_use_preview",
        "container_upload",
        "custom",
        "document",
        "file",
        "file_search",
        "image_generation",
        "input_audio",
        "input_file",
        "local_shell",
        "mcp",
        "memory",
        "search_result",
        "server_tool_use",
        "text_editor",
        "tool_reference",
        "url",
        "web_fetch",
        "web_search",
        "web_search_preview",
    )
)
"""Types that these protocols have: their own words, which are no secret of the client's.
Without the endings that further ones have."""


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
    """`kind` is what the client wrote: said again where it is the protocol's word, and not where it may be anything."""
    told = f"of the type {kind}" if _ENDINGS.sub("", kind) in _WORDS else "of a type that is not known"
    return invalid(field, f"has {what} {told}, which is not supported", f"Supported: {known}.")

"""What is wrong with a body, in words that name the field and never what was in it.

Knows nothing of any particular body: which names are ours is read off the schema.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi.exceptions import RequestValidationError

from engine.serve.failures import Refused, scrubbed

_OWN_WORDS = frozenset({"literal_error", "enum"})
"""Their messages quote what is expected, and nothing that came."""
_NOT_JSON = "json_invalid"


def refused_body(error: RequestValidationError, names: frozenset[str]) -> Refused:
    """`names` are those of all fields there are; others came from the client."""
    first = error.errors()[0]
    if first["type"] == _NOT_JSON:
        return Refused("The body is not JSON.", "Check the quotes and commas.", code="invalid_json")
    field = field_name(first["loc"], names)
    # What stands in quotation marks is taken for the client's words wherever it comes from.
    problem = first["msg"].replace("'", "") if first["type"] in _OWN_WORDS else scrubbed(first["msg"])
    message = f"{field}: {problem}." if field else f"The body: {problem}."
    return Refused(message, status=422, code="invalid_value", param=field or None)


def field_name(place: Iterable[Any], names: frozenset[str]) -> str:
    """Such as `messages.0.content`, as far as the names in it are ours."""
    told = [str(part) for part in place if isinstance(part, int) or part in names]
    return ".".join(told)


def field_names(schema: Mapping[str, Any]) -> frozenset[str]:
    """Of all bodies, paths and queries in an OpenAPI schema."""
    found: set[str] = set()
    pending: list[Any] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            found.update(node.get("properties", {}))
            if "in" in node and isinstance(node.get("name"), str):
                found.add(node["name"])
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)
    return frozenset(found)

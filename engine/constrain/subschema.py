"""Parts of a tool's schema, for models that write each argument by itself.

Knows nothing of how they are written. What stands in one part by reference to another is found there, too.
"""

from collections.abc import Sequence
from typing import Any

from engine.api.errors import RequestError

REMARKS = frozenset(
    ("$comment", "title", "description", "default", "deprecated", "example", "examples", "readOnly", "writeOnly")
)
"""What holds nothing."""
_OBJECT = frozenset(("$schema", "$id", "$defs", "definitions", "type"))
_MEMBERS = frozenset(("properties", "required", "additionalProperties"))


def properties_of(schema: dict[str, Any], tool: str, place: str = "#") -> list[tuple[str, Any, bool]]:
    """Each with its schema, and whether it is required. Raises `RequestError` where a schema says more of an object
    than that."""
    if more := sorted(schema.keys() - _OBJECT - _MEMBERS - REMARKS):
        raise unwritable(tool, f"{place} says {more[0]!r} of an object")
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    if unknown := [name for name in required if name not in properties]:
        raise unwritable(tool, f"{place} requires {unknown[0]!r} and does not describe it")
    if not properties and schema.get("additionalProperties") not in (None, False):
        raise unwritable(tool, f"{place} takes properties of any name")
    return [(name, part, name in required) for name, part in properties.items()]


def property_schema(schema: dict[str, Any], name: str) -> Any:
    """That of one property as a schema of its own."""
    part = schema["properties"][name]
    if not _refers(schema):
        return part
    pointer = name.replace("~", "~0").replace("/", "~1")
    return {"$defs": {"all": _moved(schema)}, "$ref": f"#/$defs/all/properties/{pointer}"}


def texts_of(schema: Any) -> tuple[str, ...] | None:
    """The texts that a schema allows; none are all of them. `None` where something else than texts has to be held."""
    if not isinstance(schema, dict):
        return None
    says = schema.keys() - REMARKS
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if says == {"type"} and schema["type"] == "string":
        return ()
    is_choice = says <= {"type", "enum"} or says <= {"type", "const"}
    if is_choice and values and all(isinstance(value, str) for value in values) and _is_text(schema):
        return tuple(values)
    return None


def unwritable(tool: str, reason: str) -> RequestError:
    return RequestError(
        f"Calls of the tool {tool} cannot be held to its schema as this model writes them: {reason}.",
        "Describe each argument by name, or let the model choose whether to call a tool.",
        code="unsupported_schema",
    )


def _is_text(schema: dict[str, Any]) -> bool:
    return schema.get("type", "string") == "string"


def _refers(node: Any) -> bool:
    if isinstance(node, dict):
        return "$ref" in node or any(map(_refers, node.values()))
    return isinstance(node, list) and any(map(_refers, node))


def _moved(node: Any) -> Any:
    """The same, one level deeper."""
    if isinstance(node, dict):
        return {
            key: f"#/$defs/all{value[1:]}" if key == "$ref" and _is_local(value) else _moved(value)
            for key, value in node.items()
        }
    return [_moved(part) for part in node] if isinstance(node, Sequence) and not isinstance(node, str) else node


def _is_local(reference: Any) -> bool:
    return isinstance(reference, str) and reference.startswith("#")

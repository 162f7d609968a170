"""What of a JSON schema can be enforced: every keyword is known here, or refused by name and place.

Knows nothing of grammars. The grammar engine ignores keywords it has never heard of, and takes more of some than it
can hold; both end here.
"""

import re
from collections.abc import Iterator
from typing import Any

from engine.api.errors import RequestError
from engine.api.settings import ConstraintLimits
from engine.constrain.keywords import INSTEAD, KNOWN, LISTS, MAPS, SCHEMAS

_TAKE_OUT = "Take it out, and look at the answer for it afterwards."
_LARGEST = 2**53
"""Beyond it, neighbouring whole numbers are one to the grammar engine."""
_UNWRITABLE = re.compile("[\x00-\x07\x0b\x0e-\x1f\x7f]")
"""Could only be written as \\u escapes, which are not drawn: a name could be spelled in two ways with them."""


def check_schema(schema: Any, limits: ConstraintLimits, name: str = "#") -> None:
    """`schema` as parsed. Raises `RequestError` naming what is too much or cannot be enforced, and where: in `name`."""
    _check_depth(schema, limits.max_schema_depth)
    values = 0
    for place, node in _nodes(schema, name):
        _check_keywords(place, node)
        _check_objects(place, node)
        _check_items(place, node)
        _check_literals(place, node)
        _check_patterns(place, node, limits.max_regex_length)
        enum = node.get("enum")
        values += len(enum) if isinstance(enum, list) else 0
        if values > limits.max_enum_values:
            raise _too_large(f"The JSON schema enumerates more than {limits.max_enum_values:,} values, as of {place}.")


def close_objects(schema: Any) -> Any:
    """The same, but objects that list their properties and say nothing of others have no others."""
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for key, value in schema.items():
        if key in MAPS and isinstance(value, dict):
            closed[key] = {name: close_objects(part) for name, part in value.items()}
        # Not in allOf: parts of one object would shut each other's properties out.
        elif key in LISTS - {"allOf"} and isinstance(value, list):
            closed[key] = [close_objects(part) for part in value]
        elif key in SCHEMAS:
            closed[key] = [close_objects(part) for part in value] if isinstance(value, list) else close_objects(value)
    says_more = {"additionalProperties", "patternProperties", "allOf", "anyOf", "oneOf", "$ref"}
    if isinstance(schema.get("properties"), dict) and not says_more & set(schema):
        closed["additionalProperties"] = False
    return closed


def places(schema: Any, keyword: str) -> list[str]:
    """Where in a schema a keyword stands."""
    return [f"{place}/{keyword}" for place, node in _nodes(schema, "#") if keyword in node]


def _nodes(schema: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, itself first, with its JSON pointer."""
    if not isinstance(schema, dict):
        return
    yield place, schema
    for key, value in schema.items():
        parts: list[tuple[str, Any]] = []
        if key in MAPS and isinstance(value, dict):
            parts = [(f"/{_pointer(name)}", part) for name, part in value.items()]
        elif key in LISTS | SCHEMAS and isinstance(value, list):
            parts = [(f"/{number}", part) for number, part in enumerate(value)]
        elif key in SCHEMAS:
            parts = [("", value)]
        for step, part in parts:
            yield from _nodes(part, f"{place}/{key}{step}")


def _check_depth(schema: Any, most: int) -> None:
    level, depth = [schema], 0
    while level := [part for node in level if isinstance(node, dict | list) for part in _parts(node)]:
        depth += 1
        if depth > most:
            raise _too_large(f"The JSON schema is nested more than {most} deep.")


def _check_keywords(place: str, node: dict[str, Any]) -> None:
    # The empty name is a name too.
    unknown = [key for key in node if key not in KNOWN]
    if unknown:
        raise _unenforceable(repr(unknown[0]), place, INSTEAD.get(unknown[0], _TAKE_OUT))


def _check_objects(place: str, node: dict[str, Any]) -> None:
    least, required = node.get("minProperties"), node.get("required")
    named = len(required) if isinstance(required, list) else 0
    # Of properties without a name in the schema, one may come twice.
    if isinstance(least, int) and least > named + 1:
        raise _unenforceable("minProperties", place, "Name the properties that are required.")


def _check_items(place: str, node: dict[str, Any]) -> None:
    if "additionalItems" in node and not isinstance(node.get("items"), list):
        raise _unenforceable("additionalItems", place, "Beside prefixItems, items says what the others are.")


def _check_literals(place: str, node: dict[str, Any]) -> None:
    literals = {key: node[key] for key in ("const", "enum", "required") if key in node}
    properties = node.get("properties")
    literals["properties"] = list(properties) if isinstance(properties, dict) else None
    literals |= {key: node[key] for key in node if key.lower().endswith(("minimum", "maximum"))}
    for key, value in literals.items():
        for leaf in _leaves(value):
            if isinstance(leaf, str) and _UNWRITABLE.search(leaf):
                raise _unenforceable(key, place, f"{leaf!r} holds a control character; take it out.")
            if isinstance(leaf, int | float) and abs(leaf) > _LARGEST:
                raise _unenforceable(key, place, f"{leaf} is beyond 2^53; ask for it as a string.")


def _check_patterns(place: str, node: dict[str, Any], most: int) -> None:
    patterns = node.get("patternProperties")
    found = [("pattern", node.get("pattern"))]
    found += [("patternProperties", name) for name in patterns] if isinstance(patterns, dict) else []
    for key, pattern in found:
        if isinstance(pattern, str) and len(pattern) > most:
            raise _too_large(f"The regular expression at {place}/{key} has more than {most:,} characters.")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for part in _parts(value):
            yield from _leaves(part)
        yield from value if isinstance(value, dict) else ()
    else:
        yield value


def _parts(node: dict[str, Any] | list[Any]) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _unenforceable(keyword: str, place: str, hint: str) -> RequestError:
    return RequestError(
        f"The JSON schema says {keyword} at {place}, which cannot be enforced here.", hint, code="unsupported_schema"
    )


def _too_large(message: str) -> RequestError:
    return RequestError(message, "Make the schema smaller.", code="format_too_large")

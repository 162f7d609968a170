"""An answer that calls tools in its model's own way of writing, as something it can be held to.

Knows nothing of tokenizers beyond which words are tokens of their own, nor of who runs the tools.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engine.api.errors import RequestError
from engine.api.response_format import ResponseFormat
from engine.api.settings import ConstraintLimits
from engine.api.tools import Tool
from engine.constrain.bare import BareNotation
from engine.constrain.layouts import Apart, Bare, Layout, Whole
from engine.constrain.rules import Rules
from engine.constrain.schema import check_schema, close_objects
from engine.constrain.subschema import properties_of, property_schema, texts_of, unwritable

_KEY = re.compile(r"[\w.$-]+")
_SPACE = "/[ \\t\\r\\n]{0,4}/"


@dataclass(frozen=True, slots=True)
class Calls:
    """The form of an answer that calls one of `tools`, or several, and no others, and says nothing besides."""

    layout: Layout
    start: str
    """The words in front of a call and behind it, as `engine.run.tools.ToolFormat` has them."""
    end: str
    tools: tuple[Tool, ...]
    control: Mapping[str, int]
    """Tokens that are no text, by their words."""
    several: bool = True
    otherwise: ResponseFormat | None = None
    """The form that the answer may have instead."""


def calls_grammar(calls: Calls, limits: ConstraintLimits, otherwise: Mapping[str, Any] | None = None) -> str:
    """llguidance's; `otherwise` is the grammar of an answer without a call. Raises `RequestError` for arguments that
    cannot be held to their schema, by name."""
    rules = Rules(calls.control)
    layout = calls.layout
    call = " | ".join(rules.add(_call(rules, layout, tool, limits)) for tool in calls.tools)
    one = rules.add(call)
    several = one
    if calls.several and layout.between is not None:
        several = f"{one} ({rules.literal(layout.between)} {one})*"
    words = (rules.literal(text) for text in (calls.start + layout.opening, layout.closing + calls.end))
    block = rules.add(f" {several} ".join(words))
    answer = f"{rules.add(_SPACE)} {block}"
    if calls.several and layout.between is None:
        answer += f" ({rules.add(_SPACE)} {block})*"
    if otherwise is not None:
        answer += f" | {rules.include(otherwise)}"
    return rules.grammar(answer)


def _call(rules: Rules, layout: Layout, tool: Tool, limits: ConstraintLimits) -> str:
    size = len(tool.parameters.encode())
    if size > limits.max_schema_bytes:
        raise RequestError(
            f"The schema of the tool {tool.name} has {size:,} bytes; at most {limits.max_schema_bytes:,} are taken.",
            "Make it smaller.",
            code="format_too_large",
        )
    schema = {"type": "object", **json.loads(tool.parameters)}
    check_schema(schema, limits, f"{tool.name}#")
    schema = close_objects(schema)
    match layout.call:
        case Whole(head, tail):
            return _around(rules, head, tail, tool, rules.json(schema))
        case Apart(head, _, _, tail) as apart:
            return _around(rules, head, tail, tool, _arguments(rules, apart, tool, schema))
        case Bare(head) as bare:
            return _around(rules, head, "", tool, BareNotation(rules, bare, tool.name, schema).object(schema))


def _around(rules: Rules, head: str, tail: str, tool: Tool, arguments: str) -> str:
    before, *after = head.replace("{name}", tool.name).split("{number}")
    numbered = "".join(f" /[0-9]{{1,3}}/ {rules.literal(part)}" for part in after)
    return f"{rules.literal(before)}{numbered} {arguments} {rules.literal(tail)}"


def _arguments(rules: Rules, apart: Apart, tool: Tool, schema: dict[str, Any]) -> str:
    members = []
    for name, part, is_required in properties_of(schema, tool.name):
        if not _KEY.fullmatch(name):
            raise unwritable(tool.name, f"# names an argument {name!r}")
        texts = texts_of(part) if apart.has_texts else None
        if texts == ():
            value = rules.text_until(apart.after)
        else:
            words = "" if texts is None else f"({' | '.join(map(rules.literal, texts))})"
            value = f"{words or rules.json(property_schema(schema, name))} {rules.literal(apart.after)}"
        members.append((f"{rules.literal(apart.before.replace('{key}', name))} {value}", is_required))
    return rules.sequence(members, apart.joint)

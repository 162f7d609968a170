"""Tools that a request offers, which of them it wants called, and calls as they go back over the wire.

Knows nothing of how a model writes a call.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from engine.api.events import ToolCallDelta
from engine.api.tools import Tool, ToolChoice
from engine.serve.wire.body import Flag, invalid

_FIELD = "tool_choice"
_WORDS = {choice.value: choice for choice in ToolChoice}


class ToolsBody(BaseModel):
    tools: list[dict[str, Any]] | None = Field(None, max_length=1024)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: Flag | None = None


def tools_of(body: ToolsBody) -> tuple[tuple[Tool, ...], ToolChoice | str]:
    """The tools, and which of them is to be called. Raises `Refused` or `RequestError` for what cannot be read."""
    tools = tuple(_tool(given) for given in body.tools or ())
    choice = body.tool_choice
    if choice is None:
        return tools, ToolChoice.AUTO
    if isinstance(choice, str):
        return tools, _word(choice)
    match choice.get("type"):
        case "function":
            return tools, _name(choice)
        case "allowed_tools":
            return _allowed(tools, choice.get("allowed_tools", choice))
    raise invalid(_FIELD, "has a type that is not known", "Use function or allowed_tools.")


def call_object(call: ToolCallDelta, number: str) -> dict[str, Any]:
    """`number` makes up for a call without an id of its own."""
    name = call.call_id or f"call_{number}_{call.choice}_{call.index}"
    return {"id": name, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def written(given: Mapping[str, Any], field: str) -> str:
    """As JSON text. Raises `Refused`, naming the field it stands in, for what cannot be written."""
    try:
        text = json.dumps(given, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, RecursionError) as error:
        raise invalid(field, "holds what cannot be written as JSON") from error
    return text


def _tool(given: Mapping[str, Any]) -> Tool:
    written(given, "tools")
    return Tool.from_openai(given)


def _word(choice: str) -> ToolChoice:
    if choice not in _WORDS:
        raise invalid(_FIELD, "is not known", f"Use {', '.join(_WORDS)}, or name a function.")
    return _WORDS[choice]


def _name(given: Mapping[str, Any]) -> str:
    function = given.get("function", given)
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        raise invalid(_FIELD, "names no function")
    return name


def _allowed(tools: Sequence[Tool], given: object) -> tuple[tuple[Tool, ...], ToolChoice | str]:
    listed = given.get("tools") if isinstance(given, Mapping) else None
    if not isinstance(given, Mapping) or not isinstance(listed, list):
        raise invalid(_FIELD, "lists no tools")
    names = {_name(each) if isinstance(each, Mapping) else "" for each in listed}
    if names - {tool.name for tool in tools}:
        raise invalid(_FIELD, "allows a tool that is not among the tools")
    mode = given.get("mode", ToolChoice.AUTO.value)
    return tuple(tool for tool in tools if tool.name in names), _word(mode if isinstance(mode, str) else "")

"""A conversation as chat templates read it: a dictionary for each turn, in OpenAI's shape.

Knows nothing of any template; what they differ in is said to it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.request import Image, Message, Part, Role, Text, Video
from engine.api.tools import ToolCall, ToolResult

Turn = dict[str, Any]

_KINDS = {Image: "image", Video: "video"}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a template takes."""

    parts: bool
    """Content as a list of parts; otherwise it is a text, with `markers` where media stand."""
    markers: Mapping[type, str]
    argument_text: bool = False
    """The arguments of a call as JSON text instead of an object."""
    result_parts: bool = False
    """What a tool gave as a list of parts, as other content."""
    no_content: bool = False
    """A message that only calls tools has no content instead of an empty one."""


def turns_of(messages: Sequence[Message], shape: Shape) -> list[Turn]:
    """One turn for each message, and for each result of a tool."""
    names = {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolCall)}
    turns: list[Turn] = []
    for message in messages:
        if any(isinstance(part, ToolResult) for part in message.parts):
            turns += _results(message.parts, names, shape)
        else:
            turns.append(_turn(message, shape))
    return turns


def content_of(parts: Sequence[Part], shape: Shape) -> str | list[Turn]:
    if not shape.parts:
        return flat(parts, shape)
    return [
        {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": _KINDS[type(part)]}
        for part in parts
    ]


def flat(parts: Sequence[Part], shape: Shape) -> str:
    return "".join(part.text if isinstance(part, Text) else shape.markers[type(part)] for part in parts)


def _turn(message: Message, shape: Shape) -> Turn:
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    rest = [part for part in message.parts if not isinstance(part, ToolCall)]
    turn: Turn = {"role": message.role.value}
    if rest or not calls:
        turn["content"] = content_of(rest, shape)
    elif not shape.no_content:
        turn["content"] = ""
    if calls:
        turn["tool_calls"] = [_call(call, shape) for call in calls]
    return turn


def _call(call: ToolCall, shape: Shape) -> Turn:
    arguments = call.arguments_json if shape.argument_text else json.loads(call.arguments_json)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _results(parts: Sequence[Part], names: Mapping[str, str], shape: Shape) -> list[Turn]:
    """What follows a result in its message, such as a picture, belongs to it."""
    turns: list[Turn] = []
    contents: list[list[Part]] = []
    for part in parts:
        if isinstance(part, ToolResult):
            turns.append({"role": Role.TOOL.value, "tool_call_id": part.id})
            if part.id in names:
                turns[-1]["name"] = names[part.id]
            contents.append([Text(part.text)])
        elif contents:
            contents[-1].append(part)
        else:
            turns.append({"role": Role.TOOL.value})
            contents.append([part])
    for turn, content in zip(turns, contents, strict=True):
        is_text = all(isinstance(part, Text) for part in content)
        turn["content"] = flat(content, shape) if is_text and not shape.result_parts else content_of(content, shape)
    return turns

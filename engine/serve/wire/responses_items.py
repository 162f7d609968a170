"""The items of a response's input: as clients send them, as they are kept and listed, and as messages to the engine.

Pure: opens none of the media, and knows nothing of where items are kept.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

from pydantic import TypeAdapter

from engine.api.request import Image, Message, Part, Role, Text
from engine.api.tools import ToolCall, ToolResult
from engine.serve.wire.frames import Json
from engine.serve.wire.kinds import Other, unsupported
from engine.serve.wire.parts import ImagePart, RefusalPart, TextPart, parts_of, text_of
from engine.serve.wire.responses_body import (
    CallItem,
    Item,
    ItemPart,
    KeptItem,
    MessageItem,
    ReferenceItem,
    ResultItem,
    ThoughtItem,
)

_PREFIXES = {"message": "msg", "function_call": "fc", "function_call_output": "fco", "reasoning": "rs"}
_SUPPORTED_PARTS = "input_text, input_image, input_audio, input_video, output_text, refusal"
_KEPT: TypeAdapter[list[KeptItem]] = TypeAdapter(list[KeptItem])


def given_items(given: str | Sequence[Item], find: Callable[[str], Json]) -> list[KeptItem]:
    """What a client sent, with what it names by id in its place. Raises `Refused` for kinds that are not supported,
    and whatever `find` raises."""
    if isinstance(given, str):
        return [MessageItem(role="user", content=given)]
    items: list[KeptItem] = []
    for item in given:
        match item:
            case ReferenceItem(id=name):
                items += read_items([find(name)])
            case Other(type=kind):
                raise unsupported("input", "an item", kind, ", ".join([*_PREFIXES, "item_reference"]))
            case _:
                items.append(item)
    return items


def read_items(kept: Iterable[Json]) -> list[KeptItem]:
    """Items that were kept, and those that were answered, as if a client had sent them."""
    return _KEPT.validate_python(list(kept))


def kept_items(items: Iterable[KeptItem], number: str) -> tuple[dict[str, Any], ...]:
    """As they are listed; `number` makes up for those without an id."""
    return tuple(
        {"id": item.id or f"{_PREFIXES[item.type]}_{number}_in{place}", **_kept(item)}
        for place, item in enumerate(items)
    )


def conversation(instructions: str | None, items: Iterable[KeptItem]) -> tuple[Message, ...]:
    """Calls belong to the message before them, results to one another, and instructions that follow one another are
    one: templates take no second. Raises `Refused` or `RequestError` for parts that do not belong where they stand."""
    pieces = [Message(Role.SYSTEM, (Text(instructions),))] if instructions else []
    pieces += [_message(item) for item in items if not isinstance(item, ThoughtItem)]
    return tuple(message for role, run in groupby(pieces, lambda piece: piece.role) for message in _run(role, run))


def _run(role: Role, messages: Iterable[Message]) -> Iterator[Message]:
    """Messages of one role, one after another."""
    if role is Role.USER:
        yield from messages
        return
    parts = [part for message in messages for part in message.parts]
    if role is Role.SYSTEM and all(isinstance(part, Text) for part in parts):
        parts = [Text("\n\n".join(part.text for part in parts))]
    yield Message(role, tuple(parts))


def _message(item: MessageItem | CallItem | ResultItem) -> Message:
    match item:
        case CallItem():
            return Message(Role.ASSISTANT, (ToolCall(item.call_id, item.name, item.arguments),))
        case ResultItem(output=output):
            known = _known(output)
            media = [part for part in parts_of(known) if not isinstance(part, Text)]
            return Message(Role.TOOL, (ToolResult(item.call_id, text_of(known)), *media))
        case MessageItem(role=role):
            return Message(Role.SYSTEM if role == "developer" else Role(role), _parts(item))


def _parts(item: MessageItem) -> tuple[Part, ...]:
    return parts_of(_known(item.content))


def _known(content: str | Sequence[ItemPart]) -> Any:
    """The same, unless some part of it is not supported."""
    for part in content if not isinstance(content, str) else ():
        if isinstance(part, Other):
            raise unsupported("input", "a part", part.type, _SUPPORTED_PARTS)
    return content


def _kept(item: KeptItem) -> dict[str, Any]:
    match item:
        case MessageItem(role=role, content=content):
            written = _content(content, is_answer=role == "assistant")
            return {"type": item.type, "role": role, "content": written, "status": "completed"}
        case CallItem():
            told = {"call_id": item.call_id, "name": item.name, "arguments": item.arguments}
            return {"type": item.type, **told, "status": "completed"}
        case ResultItem(output=output):
            written = output if isinstance(output, str) else _content(output)
            return {"type": item.type, "call_id": item.call_id, "output": written, "status": "completed"}
        case ThoughtItem():
            thought = (
                {"summary": item.summary} if item.content is None else item.model_dump(include={"summary", "content"})
            )
            return {"type": item.type, **thought}


def _content(content: str | Sequence[ItemPart], *, is_answer: bool = False) -> list[dict[str, Any]]:
    parts = [TextPart(type="text", text=content)] if isinstance(content, str) else _known(content)
    return [_content_part(part, is_answer=is_answer) for part in parts]


def _content_part(part: Any, *, is_answer: bool) -> dict[str, Any]:
    match part:
        case TextPart(text=text) if is_answer:
            return {"type": "output_text", "text": text, "annotations": []}
        case TextPart(text=text):
            return {"type": "input_text", "text": text}
        case RefusalPart(refusal=refusal):
            return {"type": "refusal", "refusal": refusal}
        case ImagePart():
            shown = part.part()
            return {
                "type": "input_image",
                "image_url": shown.source if isinstance(shown, Image) else "",
                "detail": "auto",
            }
        case _:
            return part.model_dump(exclude_none=True)

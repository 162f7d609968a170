"""Anthropic's blocks to the parts of a conversation.

Pure: opens none of the media, and knows nothing of what else a request says.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from types import MappingProxyType

from engine.api.request import Image, Message, Part, Role, Text
from engine.api.tools import ToolCall, ToolResult
from engine.serve.wire.body import not_supported
from engine.serve.wire.kinds import Other, unsupported
from engine.serve.wire.messages_body import (
    Base64Source,
    Block,
    CountBody,
    DocumentBlock,
    ImageBlock,
    SearchResultBlock,
    TextBlock,
    TextSource,
    ThoughtBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
    UrlSource,
)
from engine.serve.wire.tools import written

_SUPPORTED = "text, image, document, search_result, thinking, redacted_thinking, tool_use, tool_result"
_ROLES = MappingProxyType({"user": Role.USER, "assistant": Role.ASSISTANT, "system": Role.SYSTEM})


def conversation(body: CountBody) -> tuple[Message, ...]:
    """Turns of one role after another are one, and so are a system prompt and what the first messages add to it."""
    if body.messages[-1].role == "assistant":
        raise not_supported(
            "messages", "An answer that was begun cannot be continued: end with the user's, or ask for output_config."
        )
    turns = [Turn(role="system", content=body.system)] if body.system else []
    pieces = [piece for turn in [*turns, *body.messages] for piece in _messages(turn)]
    return tuple(_joined(role, group) for role, group in groupby(pieces, lambda piece: piece.role))


def _joined(role: Role, messages: Iterable[Message]) -> Message:
    parts = [part for message in messages for part in message.parts]
    if role is Role.SYSTEM and all(isinstance(part, Text) for part in parts):
        return Message(role, (Text("\n\n".join(part.text for part in parts)),))
    # What the model said goes back as it was, so that it is found among what it has read already.
    return Message(role, tuple(parts if role is Role.ASSISTANT else _apart(parts)))


def _apart(parts: Sequence[Part]) -> Iterator[Part]:
    """Blocks of text that follow one another are no single sentence."""
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        glued = isinstance(part, Text) and isinstance(following, Text) and not part.text.endswith("\n")
        yield replace(part, text=f"{part.text}\n") if glued else part


def _messages(turn: Turn) -> Iterator[Message]:
    """What tools gave stands in messages of their own, between those of the user."""
    role = _ROLES[turn.role]
    if isinstance(turn.content, str):
        yield from [Message(role, (Text(turn.content),))] if turn.content else []
        return
    for is_result, blocks in groupby(turn.content, lambda block: isinstance(block, ToolResultBlock)):
        parts = tuple(part for block in blocks for part in _parts(block))
        if parts:
            yield Message(Role.TOOL if is_result and role is Role.USER else role, parts)


def _parts(block: Block) -> list[Part]:
    match block:
        case ToolUseBlock():
            return [ToolCall(block.id, block.name, written(block.input, "messages"))]
        case ToolResultBlock():
            return _result(block)
        case ThoughtBlock():
            return []
        case _:
            return [part for part in _shown(block) if not isinstance(part, Text) or part.text]


def _result(block: ToolResultBlock) -> list[Part]:
    content = block.content or ""
    parts = [Text(content)] if isinstance(content, str) else [part for inner in content for part in _shown(inner)]
    parts = list(_apart(parts))
    first = parts.pop(0).text if parts and isinstance(parts[0], Text) else ""
    if block.is_error:
        first = f"Error: {first}".rstrip()
    return [ToolResult(block.tool_use_id, first), *parts]


def _shown(block: TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | Other) -> list[Part]:
    match block:
        case TextBlock():
            return [Text(block.text)]
        case ImageBlock():
            return [_image(block)]
        case DocumentBlock():
            return _document(block)
        case SearchResultBlock():
            return [Text("\n".join([block.title, block.source, *(inner.text for inner in block.content)]))]
        case Other():
            raise unsupported("messages", "a block", block.type, _SUPPORTED)


def _image(block: ImageBlock) -> Image:
    match block.source:
        case Base64Source(media_type=media_type, data=data):
            return Image(f"data:{media_type};base64,{data}")
        case UrlSource(url=url):
            return Image(url)
        case Other(type=kind):
            raise unsupported("messages", "a picture with a source", kind, "base64, url")


def _document(block: DocumentBlock) -> list[Part]:
    head = [text for text in (block.title, block.context) if text]
    match block.source:
        case TextSource(data=data):
            return [Text("\n\n".join([*head, data]))]
        case Other(type=kind):
            raise unsupported("messages", "a document with a source", kind, "text, content")
        case source:
            inner = source.content
            parts = [Text(inner)] if isinstance(inner, str) else [part for piece in inner for part in _shown(piece)]
            return [*(Text(f"{text}\n\n") for text in head), *_apart(parts)]

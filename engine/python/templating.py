"""`apply_chat_template`: a question, or a conversation, to the prompt the model was trained to see.

Knows nothing of how a template is rendered, nor of what the pictures show.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.api.errors import RequestError
from engine.api.request import Image, Message, Part, Role, Text, Video
from engine.api.tools import Tool, ToolCall, ToolResult
from engine.python.loading import Processor

_TEXT_KINDS = ("text", "input_text", "output_text")
_IMAGE_KINDS = ("image", "image_url", "input_image")
_VIDEO_KINDS = ("video", "video_url", "input_video")
_KEYS = {Role.ASSISTANT: {"tool_calls"}, Role.TOOL: {"tool_call_id"}}
"""Of a message, besides role and content."""
_PLACE = Image("", "a place for a picture")
_CLIP_PLACE = Video("", "a place for a clip")

Turn = str | Mapping[str, Any]


def apply_chat_template(
    processor: Processor,
    config: object,
    prompt: Turn | Sequence[Turn],
    add_generation_prompt: bool = True,
    return_messages: bool = False,
    num_images: int = 0,
    num_audios: int = 0,
    num_videos: int = 0,
    tools: Sequence[Mapping[str, Any]] | None = None,
    **options: Any,
) -> str | list[dict[str, Any]]:
    """The rendered prompt, with one marker for each picture and clip; or the messages it was rendered from.

    `prompt` is a question, a message `{"role": ..., "content": ...}`, or a list of either; content is a text or a list
    of `{"type": "text" | "image" | "video", ...}` parts. Of `num_images` and `num_videos`, those without a part of
    their own go to the front of the last question. `tools` are what the model may call, in OpenAI's shape, as are calls
    in a message (`tool_calls`) and what they gave (role tool, `tool_call_id`). `options` are the template's own, such
    as `enable_thinking`.
    `config` is there for mlx-vlm's call shape: the processor knows its template.
    """
    if not isinstance(processor, Processor):
        raise TypeError(f"apply_chat_template() needs the processor that load() gives, not {type(processor).__name__}")
    if num_audios:
        raise RequestError("Recordings are not understood yet.", "Leave num_audios out.", code="unsupported_media")
    if not add_generation_prompt:
        raise RequestError("apply_chat_template() always ends where the answer begins.", code="unsupported_option")
    turns = [prompt] if isinstance(prompt, str | Mapping) else prompt
    messages = _with_places([_message(turn) for turn in turns], _CLIP_PLACE, num_videos)
    messages = _with_places(messages, _PLACE, num_images)
    _check_media(processor, messages)
    if return_messages:
        return [turn for message in messages for turn in _plain(message)]
    given = tuple(map(Tool.from_openai, tools or ()))
    return processor.template.render(messages, {"enable_thinking": False, **options}, given)


def _check_media(processor: Processor, messages: list[Message]) -> None:
    kinds = {type(part) for message in messages for part in message.parts}
    for kind, marker, name in ((Image, processor.marker, "pictures"), (Video, processor.clip_marker, "clips")):
        if kind in kinds and not marker:
            raise RequestError(f"This model does not take {name}.", "Leave them out.", code="unsupported_media")


def _message(turn: Turn) -> Message:
    if isinstance(turn, str):
        return Message(Role.USER, (Text(turn),))
    try:
        role = Role(turn.get("role", "user"))
    except ValueError as error:
        known = ", ".join(role.value for role in Role)
        raise RequestError(f"There is no role {turn['role']!r}.", f"Use one of {known}.", code="bad_message") from error
    if extra := set(turn) - {"role", "content"} - _KEYS.get(role, set()):
        raise RequestError(
            f"A message of the role {role.value} has {', '.join(sorted(extra))}, which is not built yet.",
            "Leave it out.",
            code="bad_message",
        )
    content = turn.get("content") or ""
    parts = (Text(content),) if isinstance(content, str) else tuple(map(_part, content))
    if turn.get("tool_call_id"):
        text = "".join(part.text for part in parts if isinstance(part, Text))
        shown = (part for part in parts if not isinstance(part, Text))
        return Message(role, (ToolResult(str(turn["tool_call_id"]), text), *shown))
    if calls := turn.get("tool_calls"):
        return Message(role, (*(part for part in parts if part != Text("")), *map(_call, calls)))
    return Message(role, parts)


def _call(given: Any) -> ToolCall:
    """`{"id": ..., "function": {"name": ..., "arguments": JSON text or an object}}`"""
    function = given.get("function") if isinstance(given, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise RequestError(
            "A call of a tool has no function with a name.",
            'Write {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}.',
            code="bad_message",
        )
    arguments = function.get("arguments") or {}
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return ToolCall(str(given.get("id") or ""), function["name"], text)


def _part(part: Any) -> Part:
    if isinstance(part, str):
        return Text(part)
    kind = part.get("type")
    if kind in _TEXT_KINDS:
        return Text(part.get("text") or part.get("content") or "")
    if kind in _IMAGE_KINDS:
        return _PLACE
    if kind in _VIDEO_KINDS:
        return _CLIP_PLACE
    raise RequestError(f"A part of a message is of type {kind!r}.", "Use text, image and video.", code="bad_message")


def _with_places(messages: list[Message], place: Image | Video, count: int) -> list[Message]:
    missing = count - sum(isinstance(part, type(place)) for message in messages for part in message.parts)
    if missing <= 0:
        return messages
    last = next((i for i in reversed(range(len(messages))) if messages[i].role is Role.USER), None)
    if last is None:
        raise RequestError("There is no question to put the media into.", "Add a message with the role user.")
    question = Message(Role.USER, (place,) * missing + messages[last].parts)
    return [*messages[:last], question, *messages[last + 1 :]]


def _plain(message: Message) -> list[dict[str, Any]]:
    from engine.run.turns import Shape, turns_of

    has_media = any(isinstance(part, Image | Video) for part in message.parts)
    return turns_of([message], Shape(has_media, {}, argument_text=True))

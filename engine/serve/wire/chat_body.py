"""`POST /v1/chat/completions`: from a body to a request. Knows nothing of HTTP, nor what a source of media leads to.

https://developers.openai.com/api/reference/resources/chat, and what mlx-vlm and vLLM add to it.
"""

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from engine.api.request import GenerateRequest, Message, Priority, Role, Text
from engine.api.tools import ToolCall, ToolResult
from engine.serve.wire.answer_body import AnswerBody, sampling_of, stops_of
from engine.serve.wire.body import Flag, Positive, Words, invalid
from engine.serve.wire.form import FormBody, form_of
from engine.serve.wire.parts import Content, parts_of, text_of
from engine.serve.wire.thinking import ThinkingBody, template_options
from engine.serve.wire.tools import ToolsBody, tools_of, written

_SYSTEM = ("system", "developer")
SideLengths = Annotated[list[Annotated[int, Field(strict=True, ge=1, le=32_768)]], Field(min_length=1, max_length=2)]
"""Height and width, or one number for both."""


class CalledFunction(BaseModel):
    name: Words
    arguments: Words | dict[str, Any] = "{}"
    """A JSON object, mostly as text."""


class Called(BaseModel):
    id: Words
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content | None = None
    tool_calls: list[Called] | None = Field(None, max_length=1024)
    tool_call_id: Words | None = None


class ChatBody(AnswerBody, ThinkingBody, FormBody, ToolsBody):
    messages: list[ChatMessage] = Field(min_length=1, max_length=100_000)
    max_completion_tokens: Positive | None = None
    logprobs: Flag | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    modalities: list[Literal["text"]] | None = None
    resize_shape: SideLengths | None = None
    """mlx-vlm's: what pictures are scaled to fit into."""


def chat_request(body: ChatBody, *, tenant: str) -> GenerateRequest:
    """Raises `Refused` or `RequestError` for what is not supported or contradicts itself."""
    tools, tool_choice = tools_of(body)
    return GenerateRequest(
        messages_of(body.messages),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        stop=stops_of(body),
        sampling=sampling_of(body),
        logprobs=bool(body.logprobs),
        top_logprobs=body.top_logprobs or 0,
        response_format=form_of(body),
        template_options=template_options(body),
        resize_shape=shape_of(body.resize_shape),
        priority=Priority.API,
        tenant=tenant,
        thinking_budget=body.thinking_budget,
        tools=tools,
        tool_choice=tool_choice,
        n=body.n or 1,
    )


def messages_of(given: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Instructions that lead a conversation become one message: templates take no second. Raises `Refused` or
    `RequestError` for parts that do not belong where they stand."""
    leading = list(takewhile(lambda message: message.role in _SYSTEM, given))
    rest = tuple(map(_message, given[len(leading) :]))
    if len(leading) < 2:
        return (*map(_message, leading), *rest)
    text = "\n\n".join(filter(None, (text_of(message.content) for message in leading)))
    return (Message(Role.SYSTEM, (Text(text),)), *rest)


def shape_of(given: Sequence[int] | None) -> tuple[int, int] | None:
    return (given[0], given[-1]) if given else None


def _message(given: ChatMessage) -> Message:
    if given.role in _SYSTEM:
        return Message(Role.SYSTEM, parts_of(given.content))
    if given.role == "tool":
        return _result(given)
    calls = [_call(call) for call in given.tool_calls or ()]
    return Message(Role(given.role), (*parts_of(given.content), *calls))


def _result(given: ChatMessage) -> Message:
    """What a tool gave: its text, and any pictures after it."""
    if given.tool_call_id is None:
        raise invalid("messages", "hold one of the role tool without tool_call_id", "Say which call it answers.")
    media = (part for part in parts_of(given.content) if not isinstance(part, Text))
    return Message(Role.TOOL, (ToolResult(given.tool_call_id, text_of(given.content)), *media))


def _call(given: Called) -> ToolCall:
    arguments = given.function.arguments
    if not isinstance(arguments, str):
        arguments = written(arguments, "messages")
    return ToolCall(given.id, given.function.name, arguments)

"""What `/v1/responses` takes, in OpenAI's shapes. Knows nothing of the engine: shapes and ranges only.

https://developers.openai.com/api/reference/resources/responses
"""

from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, Discriminator, Field, Tag

from engine.serve.wire.body import Body, Flag, Number, Positive, Words
from engine.serve.wire.kinds import OTHER, Other, among, kind_of
from engine.serve.wire.parts import AudioPart, ImagePart, PartBody, RefusalPart, TextPart, VideoPart
from engine.serve.wire.thinking import Reasoning, ThinkingBody
from engine.serve.wire.tools import ToolsBody

MOST_PAIRS = 16
Id = Annotated[Words, Field(min_length=1, max_length=256)]
_PARTS = frozenset(
    kind
    for model in (TextPart, RefusalPart, ImagePart, AudioPart, VideoPart)
    for kind in get_args(model.model_fields["type"].annotation)
)

ItemPart = Annotated[
    Annotated[PartBody, Tag("part")] | Annotated[Other, Tag(OTHER)],
    Discriminator(lambda value: OTHER if among(_PARTS)(value) == OTHER else "part"),
]
Content = Words | Annotated[list[ItemPart], Field(max_length=10_000)]


class MessageItem(BaseModel):
    type: Literal["message"] = "message"
    id: Id | None = None
    role: Literal["user", "assistant", "system", "developer"]
    content: Content


class CallItem(BaseModel):
    type: Literal["function_call"]
    id: Id | None = None
    call_id: Id
    name: Id
    arguments: Words


class ResultItem(BaseModel):
    type: Literal["function_call_output"]
    id: Id | None = None
    call_id: Id
    output: Content


class ThoughtItem(BaseModel):
    """Of an earlier turn. Templates leave it out."""

    type: Literal["reasoning"]
    id: Id | None = None
    summary: list[dict[str, Any]] = Field([], max_length=10_000)
    content: list[dict[str, Any]] | None = Field(None, max_length=10_000)


class ReferenceItem(BaseModel):
    """An item that the server keeps, by its id."""

    type: Literal["item_reference"]
    id: Id


_ITEMS = ("message", "function_call", "function_call_output", "reasoning", "item_reference")


def _item_kind(value: Any) -> str:
    """Messages may leave their type out."""
    is_message = kind_of(value) is None and isinstance(value, dict) and "role" in value
    return "message" if is_message else among(_ITEMS)(value)


KeptItem = Annotated[MessageItem | CallItem | ResultItem | ThoughtItem, Field(discriminator="type")]
Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[CallItem, Tag("function_call")]
    | Annotated[ResultItem, Tag("function_call_output")]
    | Annotated[ThoughtItem, Tag("reasoning")]
    | Annotated[ReferenceItem, Tag("item_reference")]
    | Annotated[Other, Tag(OTHER)],
    Discriminator(_item_kind),
]


class ResponseReasoning(Reasoning):
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None


class TextOptions(BaseModel):
    format: dict[str, Any] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


def _few(pairs: dict[str, str]) -> dict[str, str]:
    if any(len(key) > 64 or len(value) > 512 for key, value in pairs.items()):
        raise ValueError("keys have at most 64 characters and values at most 512")
    return pairs


class PromptBody(Body, ThinkingBody, ToolsBody):
    """What a prompt is made of."""

    input: Annotated[Words, Field(min_length=1)] | Annotated[list[Item], Field(min_length=1, max_length=100_000)]
    instructions: Words | None = None
    previous_response_id: Id | None = None
    reasoning: ResponseReasoning | None = None
    conversation: Any = None
    prompt: Any = None


class ResponsesBody(PromptBody):
    text: TextOptions | None = None
    include: list[Annotated[str, Field(max_length=64)]] | None = Field(None, max_length=64)
    max_output_tokens: Positive | None = None
    max_tool_calls: Positive | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(strict=True, ge=0, le=20)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    store: Flag | None = None
    stream: Flag | None = None
    background: Flag | None = None
    metadata: Annotated[dict[Words, Words], Field(max_length=MOST_PAIRS), AfterValidator(_few)] | None = None

    @property
    def tells_logprobs(self) -> bool:
        return "message.output_text.logprobs" in (self.include or ()) or bool(self.top_logprobs)

    @property
    def is_kept(self) -> bool:
        """Clients that do not say otherwise may ask for it again."""
        return self.store is not False

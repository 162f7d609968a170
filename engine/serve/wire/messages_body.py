"""What `/v1/messages` takes, in Anthropic's shapes. Knows nothing of the engine: shapes and ranges only.

https://platform.claude.com/docs/en/api/messages
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from engine.serve.wire.body import Body, Count, Flag, Number, Positive, Words
from engine.serve.wire.kinds import OTHER, Other, among

Id = Annotated[Words, Field(min_length=1, max_length=256)]


class TextBlock(BaseModel):
    type: Literal["text"]
    text: Words


class Base64Source(BaseModel):
    type: Literal["base64"]
    media_type: Annotated[str, Field(pattern=r"^[a-zA-Z0-9.+-]{1,64}/[a-zA-Z0-9.+-]{1,64}$")]
    data: str


class UrlSource(BaseModel):
    type: Literal["url"]
    url: str


class ImageBlock(BaseModel):
    type: Literal["image"]
    source: Annotated[
        Annotated[Base64Source, Tag("base64")] | Annotated[UrlSource, Tag("url")] | Annotated[Other, Tag(OTHER)],
        Discriminator(among(("base64", "url"))),
    ]


PlainBlock = Annotated[
    Annotated[TextBlock, Tag("text")] | Annotated[ImageBlock, Tag("image")] | Annotated[Other, Tag(OTHER)],
    Discriminator(among(("text", "image"))),
]


class TextSource(BaseModel):
    type: Literal["text"]
    data: Words


class ContentSource(BaseModel):
    """A document in blocks of its own."""

    type: Literal["content"]
    content: Words | list[PlainBlock]


class DocumentBlock(BaseModel):
    type: Literal["document"]
    source: Annotated[
        Annotated[TextSource, Tag("text")] | Annotated[ContentSource, Tag("content")] | Annotated[Other, Tag(OTHER)],
        Discriminator(among(("text", "content"))),
    ]
    title: Words | None = None
    context: Words | None = None


class SearchResultBlock(BaseModel):
    type: Literal["search_result"]
    content: list[TextBlock]
    source: Words
    title: Words


ShownBlock = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ImageBlock, Tag("image")]
    | Annotated[DocumentBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[Other, Tag(OTHER)],
    Discriminator(among(("text", "image", "document", "search_result"))),
]


class ThoughtBlock(BaseModel):
    """Of an earlier turn. Templates leave it out, and nobody looks at its signature: this server signs nothing."""

    type: Literal["thinking", "redacted_thinking"]


class ToolUseBlock(BaseModel):
    type: Literal["tool_use"]
    id: Id
    name: Id
    input: dict[str, Any]


class ToolResultBlock(BaseModel):
    type: Literal["tool_result"]
    tool_use_id: Id
    content: Words | list[ShownBlock] | None = None
    is_error: Flag | None = None


Block = Annotated[
    Annotated[TextBlock, Tag("text")]
    | Annotated[ImageBlock, Tag("image")]
    | Annotated[DocumentBlock, Tag("document")]
    | Annotated[SearchResultBlock, Tag("search_result")]
    | Annotated[ThoughtBlock, Tag("thinking")]
    | Annotated[ThoughtBlock, Tag("redacted_thinking")]
    | Annotated[ToolUseBlock, Tag("tool_use")]
    | Annotated[ToolResultBlock, Tag("tool_result")]
    | Annotated[Other, Tag(OTHER)],
    Discriminator(
        among(
            (
                "text",
                "image",
                "document",
                "search_result",
                "thinking",
                "redacted_thinking",
                "tool_use",
                "tool_result",
            )
        )
    ),
]


class Turn(BaseModel):
    role: Literal["user", "assistant", "system"]
    content: Words | Annotated[list[Block], Field(max_length=10_000)]


class GivenTool(BaseModel):
    """Of the client's own. Those that Anthropic defines or runs have another type."""

    type: Annotated[str, Field(max_length=64)] | None = None
    name: Annotated[str, Field(max_length=256)]
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class GivenChoice(BaseModel):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: Flag | None = None


class Thinking(BaseModel):
    type: Literal["enabled", "disabled", "adaptive", "between_tools"]
    budget_tokens: Count | None = None
    display: Literal["summarized", "omitted"] | None = None

    @property
    def is_on(self) -> bool:
        return self.type != "disabled"


class Form(BaseModel):
    type: Literal["json_schema"]
    json_schema: dict[str, Any] | bool = Field(alias="schema")


class Output(BaseModel):
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: Form | None = None


class CountBody(Body):
    """What a prompt is made of."""

    messages: list[Turn] = Field(min_length=1, max_length=100_000)
    system: Words | list[TextBlock] | None = None
    tools: list[GivenTool] | None = Field(None, max_length=1024)
    tool_choice: GivenChoice | None = None
    thinking: Thinking | None = None
    output_config: Output | None = None
    output_format: Form | None = None
    """An older place for `output_config.format`."""


class MessagesBody(CountBody):
    max_tokens: Positive
    stop_sequences: list[Annotated[Words, Field(min_length=1, max_length=1000)]] | None = Field(None, max_length=64)
    stream: Flag | None = None
    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(strict=True, ge=0, le=10_000_000)] | None = None

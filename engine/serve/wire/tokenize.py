"""`/v1/tokenize`: which tokens a text or a conversation comes to. Knows nothing of HTTP.

The shape is vLLM's, but for what it tells of the model.
"""

from typing import Any

from pydantic import Field

from engine.api.events import Finished
from engine.api.request import CountTokens, Message, RenderedPrompt
from engine.serve.wire.body import Body, Words, invalid
from engine.serve.wire.chat_body import ChatMessage, messages_of
from engine.serve.wire.thinking import ThinkingBody, template_options
from engine.serve.wire.tools import ToolsBody, tools_of


class TokenizeBody(Body, ThinkingBody, ToolsBody):
    input: Words | None = None
    prompt: Words | None = None
    """The same as `input`."""
    messages: list[ChatMessage] | None = Field(None, min_length=1, max_length=100_000)


def tokenize_request(body: TokenizeBody, *, tenant: str) -> CountTokens:
    """Raises `Refused` or `RequestError` for what cannot be read, or if not exactly one thing is given."""
    tools, _ = tools_of(body)
    return CountTokens(
        _prompt(body),
        tools=tools,
        template_options=template_options(body),
        tenant=tenant,
    )


def tokenize_object(finished: Finished) -> dict[str, Any]:
    return {"tokens": list(finished.token_ids), "count": finished.usage.prompt_tokens}


def _prompt(body: TokenizeBody) -> tuple[Message, ...] | RenderedPrompt:
    given = [name for name in ("input", "prompt", "messages") if getattr(body, name) is not None]
    if len(given) != 1:
        raise invalid("input", "has to be given, or messages instead, and not both", "Give one of the two.")
    if body.messages is not None:
        return messages_of(body.messages)
    return RenderedPrompt(getattr(body, given[0]))

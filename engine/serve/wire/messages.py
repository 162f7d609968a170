"""`/v1/messages` and `/v1/messages/count_tokens`: from a body to a request. Knows nothing of HTTP, and opens no media.

https://platform.claude.com/docs/en/api/messages
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from engine.api.request import CountTokens, GenerateRequest, Priority
from engine.api.response_format import ResponseFormat
from engine.api.settings import SamplingSettings
from engine.api.tools import Tool, ToolChoice
from engine.serve.wire.body import invalid
from engine.serve.wire.form import response_form
from engine.serve.wire.kinds import unsupported
from engine.serve.wire.messages_body import CountBody, GivenChoice, GivenTool, MessagesBody
from engine.serve.wire.messages_parts import conversation
from engine.serve.wire.tools import ToolsBody, tools_of

_WORDS = MappingProxyType({"auto": "auto", "any": "required", "none": "none"})
"""Of OpenAI's for the same choice."""


@dataclass(frozen=True, slots=True)
class Mind:
    """What is known of a model's thinking."""

    can_think: bool = False
    unasked: bool = False
    """Whether it thinks where a request says nothing of it."""


def messages_request(body: MessagesBody, mind: Mind, *, tenant: str) -> GenerateRequest:
    """Raises `Refused` or `RequestError` for what is not supported or contradicts itself."""
    tools, tool_choice = _tools(body)
    return GenerateRequest(
        conversation(body),
        max_tokens=body.max_tokens,
        stop=tuple(dict.fromkeys(body.stop_sequences or ())),
        sampling=SamplingSettings(temperature=body.temperature, top_p=body.top_p, top_k=body.top_k),
        response_format=_form(body),
        template_options=_template_options(body, mind),
        priority=Priority.API,
        tenant=tenant,
        thinking_budget=_budget(body, mind),
        tools=tools,
        tool_choice=tool_choice,
    )


def count_request(body: CountBody, mind: Mind, *, tenant: str) -> CountTokens:
    """The same prompt, to be counted."""
    tools, tool_choice = _tools(body)
    return CountTokens(
        conversation(body),
        tools=() if tool_choice is ToolChoice.NONE else tools,
        template_options=_template_options(body, mind),
        tenant=tenant,
    )


def _tools(body: CountBody) -> tuple[tuple[Tool, ...], ToolChoice | str]:
    given = [_as_openai(tool) for tool in body.tools or ()]
    return tools_of(ToolsBody(tools=given, tool_choice=_choice(body.tool_choice)))


def _as_openai(tool: GivenTool) -> dict[str, Any]:
    if tool.type not in (None, "custom"):
        raise unsupported("tools", "one", tool.type, "custom")
    if tool.input_schema is None:
        raise invalid("tools", "has one without input_schema", "Give a JSON schema of its arguments.")
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}


def _choice(choice: GivenChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.type == "tool" else _WORDS[choice.type]


def _form(body: CountBody) -> ResponseFormat | None:
    form = (body.output_config and body.output_config.format) or body.output_format
    return response_form({"type": form.type, "schema": form.json_schema, "strict": True}) if form else None


def _template_options(body: CountBody, mind: Mind) -> tuple[tuple[str, object], ...]:
    """Thinking that nobody asked for is shown to nobody."""
    options: list[tuple[str, object]] = [
        ("enable_thinking", mind.unasked if body.thinking is None else body.thinking.is_on)
    ]
    if body.output_config is not None and body.output_config.effort is not None:
        options.append(("reasoning_effort", body.output_config.effort))
    return tuple(options)


def _budget(body: CountBody, mind: Mind) -> int | None:
    """Clients ask any model to think, not knowing which it is; one that cannot has nothing to be limited."""
    if body.thinking is None or body.thinking.type != "enabled":
        return None
    if body.thinking.budget_tokens is None:
        raise invalid("thinking", "is enabled without budget_tokens", "Say how many, or let the type be adaptive.")
    return body.thinking.budget_tokens if mind.can_think else None

"""`/v1/responses`: from a body to a request, and to what its answer repeats of it. Knows nothing of HTTP or of a store.

https://developers.openai.com/api/reference/resources/responses
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.api.request import CountTokens, GenerateRequest, Priority
from engine.api.settings import SamplingSettings
from engine.api.tools import Tool, ToolChoice
from engine.serve.wire.body import not_supported
from engine.serve.wire.form import response_form
from engine.serve.wire.kinds import unsupported
from engine.serve.wire.responses_body import KeptItem, PromptBody, ResponsesBody
from engine.serve.wire.responses_items import conversation
from engine.serve.wire.thinking import template_options
from engine.serve.wire.tools import ToolsBody, tools_of


def responses_request(body: ResponsesBody, items: Sequence[KeptItem], *, tenant: str) -> GenerateRequest:
    """`items` are those of the conversation before and those of the body. Raises `Refused` or `RequestError` for what
    is not supported or contradicts itself."""
    if body.background:
        raise not_supported("background", "Stream the answer, or wait for it.")
    tools, tool_choice = _tools(body)
    return GenerateRequest(
        _prompt(body, items),
        max_tokens=body.max_output_tokens,
        sampling=SamplingSettings(temperature=body.temperature, top_p=body.top_p),
        logprobs=body.tells_logprobs,
        top_logprobs=body.top_logprobs or 0,
        response_format=response_form(body.text.format) if body.text and body.text.format else None,
        template_options=template_options(body),
        priority=Priority.API,
        tenant=tenant,
        thinking_budget=body.thinking_budget,
        tools=tools,
        tool_choice=tool_choice,
    )


def input_tokens_request(body: PromptBody, items: Sequence[KeptItem], *, tenant: str) -> CountTokens:
    """The same prompt, to be counted."""
    tools, tool_choice = _tools(body)
    return CountTokens(
        _prompt(body, items),
        tools=() if tool_choice is ToolChoice.NONE else tools,
        template_options=template_options(body),
        tenant=tenant,
    )


def repeated(body: ResponsesBody) -> dict[str, Any]:
    """What a response says again of what was asked."""
    reasoning = body.reasoning
    return {
        "background": False,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "max_tool_calls": body.max_tool_calls,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": body.previous_response_id,
        "reasoning": {
            "effort": reasoning and reasoning.effort,
            "summary": reasoning and (reasoning.summary or reasoning.generate_summary),
        },
        "store": body.is_kept,
        "temperature": body.temperature,
        "text": {
            "format": _told_form((body.text and body.text.format) or {"type": "text"}),
            "verbosity": (body.text and body.text.verbosity) or "medium",
        },
        "tool_choice": _told_choice(body.tool_choice),
        # Which calls a model makes is not enforced, so no tool is strict.
        "tools": [
            {"type": "function", "description": None, "parameters": None, **f, "strict": False}
            for f in _functions(body)
        ],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        # Nothing is left out of a conversation that is too long: it is refused.
        "truncation": "disabled",
        "user": None,
    }


def _prompt(body: PromptBody, items: Sequence[KeptItem]) -> Any:
    if body.conversation is not None:
        raise not_supported("conversation", "Use previous_response_id, or send the whole conversation.")
    if body.prompt is not None:
        raise not_supported("prompt", "Send the words themselves as instructions.")
    return conversation(body.instructions, items)


def _tools(body: PromptBody) -> tuple[tuple[Tool, ...], ToolChoice | str]:
    return tools_of(ToolsBody(tools=_functions(body), tool_choice=body.tool_choice))


def _functions(body: PromptBody) -> list[dict[str, Any]]:
    """The tools, of which only functions are supported, by what the engine knows of one."""
    for tool in body.tools or ():
        kind = tool.get("type", "function")
        if kind != "function":
            raise unsupported("tools", "one", kind if isinstance(kind, str) else "", "function")
    known = ("name", "description", "parameters")
    return [{name: tool[name] for name in known if tool.get(name) is not None} for tool in body.tools or ()]


def _told_choice(choice: str | Mapping[str, Any] | None) -> Any:
    if not isinstance(choice, Mapping):
        return choice or ToolChoice.AUTO.value
    if choice.get("type") == "function":
        return {"type": "function", "name": choice.get("function", choice).get("name")}
    allowed = choice.get("allowed_tools", choice)
    return {"type": "allowed_tools", "mode": allowed.get("mode", ToolChoice.AUTO.value), "tools": allowed["tools"]}


def _told_form(form: Mapping[str, Any]) -> dict[str, Any]:
    if form.get("type") != "json_schema":
        return {"type": form.get("type", "text")}
    inner = form.get("json_schema", form)
    told = {"name": inner.get("name") or "response", "schema": inner.get("schema") or {}}
    return {"type": "json_schema", **told, "description": inner.get("description"), "strict": bool(inner.get("strict"))}

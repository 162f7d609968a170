"""Whether, how hard and how long a model thinks before it answers, in all the ways in which clients say so.

Knows no template: these become variables that templates know or do not know.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from engine.serve.wire.body import Count, Flag, invalid

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

_VARIABLES = {
    "enable_thinking": bool,
    "thinking": bool,
    "preserve_thinking": bool,
    "clear_thinking": bool,
    "reasoning_effort": str,
    "date_string": str,
}
"""What a request may say to a chat template. A template itself, or what would change how it is run, is none of it."""
_LONGEST = 64


class Reasoning(BaseModel):
    effort: Effort | None = None


class ThinkingBody(BaseModel):
    reasoning_effort: Effort | None = None
    reasoning: Reasoning | None = None
    enable_thinking: Flag | None = None
    thinking_budget: Count | None = None
    chat_template_kwargs: dict[str, Any] | None = Field(None, max_length=64)


def template_options(body: ThinkingBody) -> tuple[tuple[str, object], ...]:
    """The nearer to the template, the more it counts; the bare `enable_thinking` most of all. Raises `Refused` for
    variables that a request may not set."""
    options: dict[str, object] = {}
    effort = body.reasoning_effort or (body.reasoning.effort if body.reasoning else None)
    if effort == "none":
        options["enable_thinking"] = False
    elif effort is not None:
        options |= {"enable_thinking": True, "reasoning_effort": effort}
    for name, value in (body.chat_template_kwargs or {}).items():
        _check(name, value)
        options[name] = value
    if body.enable_thinking is not None:
        options["enable_thinking"] = body.enable_thinking
    return tuple(options.items())


def _check(name: str, value: object) -> None:
    field = "chat_template_kwargs"
    if name not in _VARIABLES:
        raise invalid(field, "names a variable that a request may not set", f"It may set {', '.join(_VARIABLES)}.")
    kind = _VARIABLES[name]
    if type(value) is not kind:
        raise invalid(field, f"has a {name} that is no {'text' if kind is str else 'true or false'}")
    if isinstance(value, str) and not (len(value) <= _LONGEST and value.isascii() and value.isprintable()):
        raise invalid(field, f"has a {name} that is no short word")

"""A conversation to the text the model was trained to see, through the checkpoint's own chat template.

Templates come from checkpoints, so they run in transformers' immutable sandbox. Knows nothing of media beyond the
marker that stands for one, and nothing of token ids.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from engine.api.errors import CheckpointError, EngineError, RequestError
from engine.api.request import Image, Message, Role, Text, Video
from engine.api.tools import Tool, ToolCall, ToolResult
from engine.run.tools import openai_tools
from engine.run.turns import Shape, Turn, flat, turns_of

PROBE = "fovea-probe"
_CALL = ToolCall("foveaprob", "fovea_call", '{"key": "fovea-argument"}')
_CALLING = (
    Message(Role.USER, (Text(PROBE),)),
    Message(Role.ASSISTANT, (_CALL,)),
    Message(Role.TOOL, (ToolResult(_CALL.id, "fovea-result"),)),
)
_TOLD = (PROBE, _CALL.name, "fovea-argument", "fovea-result")
_BOTCHED = ("'fovea-argument'", '\\"fovea-argument', "'type'", '"type"')
"""Python's way of writing an object, JSON within JSON, a list of parts that was printed."""

# What a template with a mistake in it raises besides the errors of its own language.
_MISTAKES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)

_TOOLS = re.compile(r"\btools\b")
_ENABLE_THINKING = "enable_thinking"
_THINKING = re.compile(r"\{[%{][^}]*?(?<![\w.'\"])thinking(?![\w'\"])")
"""Granite's and DeepSeek's name for the same variable, somewhere in a template's code."""


class ChatTemplate:
    """One checkpoint's template. `tokenizer` is a transformers one, or mlx-lm's wrapper of it."""

    def __init__(
        self,
        tokenizer: Any,
        template: str | None,
        marker: str | None,
        clip_marker: str | None = None,
    ) -> None:
        """`template` replaces the tokenizer's own where that has none; the markers stand for one picture, one clip."""
        self._tokenizer = tokenizer
        own = getattr(tokenizer, "chat_template", None) or template
        named = own if isinstance(own, dict) else {"default": own or ""}
        self._template = named.get("default") or next(iter(named.values()), "")
        self._tool_template = named.get("tool_use") or self._template
        self._shape = Shape(False, {Image: marker or "", Video: clip_marker or ""})
        self._call_shape: Shape | None = None
        if self._template and self._probe_parts():
            self._shape = replace(self._shape, parts=True)

    @property
    def text(self) -> str:
        """Of all the templates there are."""
        return "\n".join(dict.fromkeys((self._template, self._tool_template)))

    @property
    def knows_tools(self) -> bool:
        return bool(_TOOLS.search(self._tool_template))

    def render(self, messages: Sequence[Message], options: Mapping[str, object], tools: Sequence[Tool] = ()) -> str:
        """The prompt, ending where the answer begins. Without any template: the bare text, marker by marker.

        Raises `RequestError` for tools, or calls of them, that the template does not know.
        """
        if tools and not self.knows_tools:
            raise _no_tools("tools")
        shape = self._shape
        if any(isinstance(part, ToolCall | ToolResult) for message in messages for part in message.parts):
            shape = self._shape_of_calls()
        if not self._template:
            return "\n".join(flat(message.parts, shape) for message in messages)
        return self._apply(turns_of(messages, shape), self._named(options), tools)

    def _apply(self, turns: list[Turn], options: Mapping[str, object], tools: Sequence[Tool] = ()) -> str:
        import jinja2

        speaks_of_calls = tools or any("tool_calls" in turn or turn["role"] == Role.TOOL.value for turn in turns)
        try:
            return self._tokenizer.apply_chat_template(
                turns,
                tools=openai_tools(tools) or None,
                tokenize=False,
                add_generation_prompt=True,
                chat_template=self._tool_template if speaks_of_calls else self._template,
                **options,
            )
        except jinja2.exceptions.SecurityError as error:
            raise CheckpointError(
                f"The model's chat template tried something that templates may not do: {_clause(error)}.",
                "Do not trust this checkpoint; choose another.",
            ) from error
        except (*_MISTAKES, jinja2.exceptions.TemplateSyntaxError) as error:
            raise CheckpointError(
                f"The model's chat template cannot be rendered: {_clause(error)}.",
                "Get the model again, or choose another version of it.",
            ) from error
        except jinja2.exceptions.TemplateError as error:
            raise RequestError(
                f"The model's chat template refused the conversation: {_clause(error)}.",
                "Some models take no system prompt, or want user and assistant to take turns.",
            ) from error

    def _named(self, options: Mapping[str, object]) -> Mapping[str, object]:
        """With the template's own name for whether to think."""
        if _ENABLE_THINKING not in options or _ENABLE_THINKING in self.text or not _THINKING.search(self.text):
            return options
        return {"thinking": options[_ENABLE_THINKING], **options}

    def _probe_parts(self) -> bool:
        """Some templates take a list of parts, others only a string; only trying tells."""
        try:
            text = self._apply([{"role": "user", "content": [{"type": "text", "text": PROBE}]}], {})
        except EngineError:
            return False
        return PROBE in text and "'text'" not in text and '"text"' not in text

    def _shape_of_calls(self) -> Shape:
        """How this template takes calls and results. Raises `RequestError` if it does not."""
        if self._call_shape is None:
            rendered = [(shape, text) for shape, text in self._tries() if all(told in text for told in _TOLD)]
            clean = [shape for shape, text in rendered if not any(mark in text for mark in _BOTCHED)]
            found = clean or [shape for shape, _ in rendered]
            if not found:
                raise _no_tools("calls of tools")
            self._call_shape = found[0]
        return self._call_shape

    def _tries(self) -> Iterator[tuple[Shape, str]]:
        """Every shape that can be rendered, the most usual first."""
        if not self._template:
            return
        for argument_text, no_content, result_parts in product((False, True), repeat=3):
            shape = replace(self._shape, argument_text=argument_text, no_content=no_content, result_parts=result_parts)
            try:
                yield shape, self._apply(turns_of(_CALLING, shape), {})
            except EngineError:
                continue


def _no_tools(what: str) -> RequestError:
    return RequestError(
        f"This model's chat template knows no {what}.",
        "Leave them out, or choose a model that was made for tools.",
        code="unsupported_option",
    )


def _clause(error: Exception) -> str:
    """What it says, to stand at the end of a sentence."""
    return str(error).rstrip(".")

"""What the answers of one model may hold besides text, and what reads it: thinking, and calls of tools.

Knows nothing of sequences, caches or events.
"""

from typing import Any

from engine.api.errors import RequestError
from engine.api.events import TokenLogprob
from engine.api.request import GenerateRequest
from engine.constrain.calls import Calls
from engine.constrain.grammars import Form
from engine.constrain.spelling import Spelling, control_words
from engine.constrain.thinking import ThinkingBlock
from engine.constrain.thinking_markers import find_thinking
from engine.run.text import TextStream
from engine.run.thinking import ThinkingBudget
from engine.run.tools import (
    NO_FORMAT,
    CallReader,
    ToolFormat,
    asked_tools,
    find_tool_format,
    held_format,
    offered_tools,
)


class AnswerForm:
    """One model's; `template` is the text of its chat template, `tokenizer` mlx-lm's wrapper."""

    def __init__(self, tokenizer: Any, template: str) -> None:
        self._tokenizer = tokenizer
        self._thinking = find_thinking(tokenizer, template)
        self._tools = find_tool_format(tokenizer, template)
        self._spelling = Spelling(tokenizer)
        self._words = control_words(tokenizer)
        self._control = frozenset(tokenizer.all_special_ids) - self._ids(self._thinking.words if self._thinking else ())

    def stream(self, request: GenerateRequest, prompt: str) -> TextStream:
        """What takes the tokens of one answer to `prompt`, as rendered."""
        tools = offered_tools(request)
        known = self._tools if tools else None
        form = self.form(request)
        return TextStream(
            self._tokenizer.detokenizer,
            request.stop,
            self._thinking and self._thinking.at(prompt),
            known and CallReader(held_format(known) if isinstance(form, Calls) else known, tools),
            self._control - self._ids(known.words) if known else self._control,
            (NO_FORMAT,) if tools and known is None else (),
            held=form is not None,
        )

    def form(self, request: GenerateRequest) -> Form | None:
        """What that answer is held to once the model has thought. Raises `RequestError` where a model's calls are not
        known well enough to be held to them."""
        asked = asked_tools(request)
        tools = asked or (offered_tools(request) if request.response_format is not None and self._tools else ())
        if not tools:
            return request.response_format
        if self._tools is None or self._tools.layout is None:
            raise _not_known(self._tools)
        return Calls(
            self._tools.layout,
            self._tools.start,
            self._tools.end,
            tools,
            self._words,
            several=not isinstance(request.tool_choice, str),
            otherwise=None if asked else request.response_format,
        )

    def budget(self, request: GenerateRequest, prompt: str) -> ThinkingBudget | None:
        """What ends the thinking of that answer, if it is limited. Raises `RequestError` where a model never thinks."""
        if request.thinking_budget is None:
            return None
        if self._thinking is None:
            raise RequestError(
                "This model does not think before it answers, so thinking_budget would do nothing.",
                "Leave it out, or choose a model that thinks.",
                code="unsupported_option",
            )
        closing = self._encode(self._thinking.closing or self._thinking.end)
        return ThinkingBudget(request.thinking_budget, self.stream(request, prompt), closing)

    def block(self, prompt: str) -> ThinkingBlock | None:
        """The thinking that a form of the answer has to let pass first."""
        if self._thinking is None:
            return None
        end = self._thinking.closing or self._thinking.end
        start_ids, end_ids = self._encode(self._thinking.start), self._encode(end)
        is_open = self._thinking.at(prompt).open
        return ThinkingBlock(tuple(start_ids), tuple(end_ids), end, self._tokenizer.decode, is_open)

    def told(self, token: TokenLogprob, request: GenerateRequest) -> TokenLogprob:
        """A token of that answer as it is told of."""
        return self._spelling.spell(token) if request.logprobs else token

    def _encode(self, word: str) -> list[int]:
        return list(self._tokenizer.encode(word, add_special_tokens=False))

    def _ids(self, words: tuple[str, ...]) -> frozenset[int]:
        return frozenset(token for word in words for token in self._encode(word))


def _not_known(found: ToolFormat | None) -> RequestError:
    how = f"in a way, {found.way}, that an answer" if found else "in a way that is not known, so an answer"
    return RequestError(
        f"This model writes calls of tools {how} cannot be held to.",
        "Leave the choice of tools to the model (auto) and the form of the answer open, or choose another model.",
        code="unsupported_option",
    )

"""Calls of tools in an answer: how a model writes them, and what it asked for.

Reading is left to mlx-lm's parsers, one a way of writing. Knows nothing of tokens or of who runs the tools.
"""

import json
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from engine.api.request import GenerateRequest
from engine.api.tools import Tool, ToolChoice
from engine.constrain.layouts import Apart, Layout, find_layout
from engine.constrain.reading import read_calls

UNREADABLE = "The model called a tool in a way that cannot be read; its words stand in the answer."
STRANGE = "The model called {}, a tool it was not offered; its words stand in the answer."
CUT = "The answer ended inside a call of a tool; what there is of the call stands in the answer."
NO_FORMAT = "How this model writes calls of tools is not known; if it wrote one, it stands in the answer."

_LETTERS = string.ascii_letters + string.digits
_ID_LENGTH = 9
"""Mistral's templates take ids of this length only, others any."""

# What mlx-lm's parsers raise for what they cannot read, `ast.literal_eval` in them included.
_GARBAGE = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    SyntaxError,
    ArithmeticError,
    RecursionError,
    MemoryError,
)


@dataclass(frozen=True, slots=True)
class Call:
    index: int
    """Its number in the answer, from 0."""
    id: str
    name: str
    arguments: str
    """A JSON object as text."""


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """What stands before and after a call (`end` is empty where only the answer's end ends it), and what reads it."""

    start: str
    end: str
    parse: Callable[[str, Any], Any]
    """From what stands between, and the tools in OpenAI's shape, to `{"name", "arguments"}` or a list of these."""
    way: str = ""
    """What mlx-lm calls this way of writing."""
    layout: Layout | None = None
    """What a call can be held to, where that is known."""

    @property
    def words(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.start, self.end)))


def find_tool_format(tokenizer: Any, template: str) -> ToolFormat | None:
    """How a model writes calls, as mlx-lm tells it from template and vocabulary; JSON in `<tool_call>` if it cannot."""
    if tokenizer.has_tool_calling:
        return _format(tokenizer.tool_call_start, tokenizer.tool_call_end, tokenizer.tool_parser, template)
    if "<tool_call>" in template:
        from mlx_lm.tool_parsers import json_tools as tools

        return _format(tools.tool_call_start, tools.tool_call_end, tools.parse_tool_call, template)
    return None


def _format(start: str, end: str, parse: Callable[[str, Any], Any], template: str) -> ToolFormat:
    way = getattr(parse, "__module__", "").rpartition(".")[2]
    return ToolFormat(start, end, parse, way, find_layout(way, template))


def offered_tools(request: GenerateRequest) -> tuple[Tool, ...]:
    """Those that the model is told of."""
    return () if request.tool_choice is ToolChoice.NONE else request.tools


def asked_tools(request: GenerateRequest) -> tuple[Tool, ...]:
    """Those of which one has to be called."""
    if isinstance(request.tool_choice, str):
        return tuple(tool for tool in request.tools if tool.name == request.tool_choice)
    return request.tools if request.tool_choice is ToolChoice.REQUIRED else ()


def held_format(found: ToolFormat) -> ToolFormat:
    """The same for calls that are held to its layout. Where arguments stand one by one, a reader by the layout takes
    none of them for something else."""
    layout = found.layout
    if layout is None or not isinstance(layout.call, Apart):
        return found
    return replace(found, parse=lambda text, tools: read_calls(text, layout, tools))


def openai_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """As templates and parsers take them."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": json.loads(tool.parameters),
            },
        }
        for tool in tools
    ]


class CallReader:
    """The calls of one answer. `open`, any number of `take`, then one of `close` and `give_back`."""

    def __init__(self, form: ToolFormat, tools: Sequence[Tool]) -> None:
        self.start, self.end = form.start, form.end
        self.words = form.words
        self.notes: list[str] = []
        self._parse = form.parse
        self._tools = openai_tools(tools)
        self._names = frozenset(tool.name for tool in tools)
        self._count = 0
        self._lead = ""
        self._written: list[str] = []

    @property
    def called(self) -> bool:
        """Whether there was a call that could be read."""
        return self._count > 0

    @property
    def whole(self) -> bool:
        """Whether what was taken can be read as it is: an end marker may be words of an argument."""
        return bool(self._read())

    def open(self, lead: str) -> None:
        """`lead` is the marker, and what stood before it that is shown only if this is not a call after all."""
        self._lead, self._written = lead, []

    def take(self, text: str) -> None:
        self._written.append(text)

    def close(self, end: str) -> list[Call] | str:
        """The calls in the block that `end` closes, or its words, if it cannot be read."""
        if not (found := self._read()):
            return self.give_back(UNREADABLE, end)
        if strange := [name for name, _, _ in found if name not in self._names]:
            return self.give_back(STRANGE.format(strange[0]), end)
        calls = [Call(self._count + at, known or _new_id(), name, text) for at, (name, text, known) in enumerate(found)]
        self._count += len(calls)
        return calls

    def _read(self) -> list[tuple[str, str, str]]:
        try:
            parsed = self._parse("".join(self._written), self._tools)
            return [_named(call) for call in (parsed if isinstance(parsed, list) else [parsed])]
        except _GARBAGE:
            return []

    def give_back(self, note: str = "", end: str = "") -> str:
        """The words of the block, which is no call."""
        if note and note not in self.notes:
            self.notes.append(note)
        return self._lead + "".join(self._written) + end


def _named(parsed: Any) -> tuple[str, str, str]:
    """Name, arguments as JSON and the model's own id, if it gave one. Raises one of `_GARBAGE`."""
    if not isinstance(parsed, Mapping):
        raise TypeError("a call is an object")
    call = cast(Mapping[str, Any], parsed)
    name, arguments, known = call["name"], call.get("arguments", call.get("parameters")), call.get("id")
    if isinstance(arguments, str):
        arguments = json.loads(arguments)
    if not isinstance(name, str) or not isinstance(arguments, Mapping | None):
        raise TypeError("a call has a name and arguments")
    return (
        name,
        json.dumps(arguments or {}, ensure_ascii=False, allow_nan=False),
        known if isinstance(known, str) else "",
    )


def _new_id() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_ID_LENGTH))

"""How models write calls of tools: what stands around names and arguments, and in what notation those are.

Knows nothing of grammars or tokens. Source: the chat templates behind mlx-lm's tool parsers, whose names are used here.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Whole:
    """The arguments are one JSON object between `head` and `tail`. In them `{name}` stands for the tool's name,
    `{number}` for a number that the model gives the call."""

    head: str
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Apart:
    """Each argument stands by itself: behind `before`, in which `{key}` is its name, `joint` if it is not the first,
    and in front of `after`."""

    head: str
    before: str
    after: str
    tail: str
    joint: str = ""
    has_texts: bool = True
    """Whether texts stand there as they are, not as JSON."""


@dataclass(frozen=True, slots=True)
class Bare:
    """An object without quotes at its keys, and with `quote` around texts, in which nothing is escaped."""

    head: str
    quote: str
    is_flat: bool = False
    """Whether there is no way of writing lists and objects in it."""
    letter: str = "(?s:.)"
    """What texts may hold, as a regular expression."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What is written from one marker to the other."""

    call: Whole | Apart | Bare
    opening: str = ""
    closing: str = ""
    between: str | None = None
    """Of the calls in one pair of markers; `None` where each call has its own."""


_GLM = Apart("{name}\n", "<arg_key>{key}</arg_key>\n<arg_value>", "</arg_value>\n", "")
_GLM_SHORT = Apart("{name}", "<arg_key>{key}</arg_key><arg_value>", "</arg_value>", "")
_MISTRAL = Layout(Whole("{name}[ARGS]"))
_MISTRAL_LIST = Layout(Whole('{"name": "{name}", "arguments": ', "}"), " [", "]", ", ")

_LAYOUTS: Mapping[str, Layout] = {
    "json_tools": Layout(Whole('\n{"name": "{name}", "arguments": ', "}\n")),
    "qwen3_coder": Layout(
        Apart("\n<function={name}>\n", "<parameter={key}>\n", "\n</parameter>\n", "</function>\n"),
    ),
    "minimax_m2": Layout(
        Apart('<invoke name="{name}">\n', '<parameter name="{key}">', "</parameter>\n", "</invoke>\n"),
        opening="\n",
        between="",
    ),
    "minicpm5": Layout(Apart('"{name}">', '<param name="{key}">', "</param>", "")),
    "pythonic": Layout(Apart("{name}(", "{key}=", "", ")", ", ", has_texts=False), "[", "]", ", "),
    "longcat": Layout(
        Apart(
            "{name}\n",
            "<longcat_arg_key>{key}</longcat_arg_key>\n<longcat_arg_value>",
            "</longcat_arg_value>\n",
            "",
        )
    ),
    "kimi_k2": Layout(
        Whole(
            "<|tool_call_begin|>functions.{name}:{number}<|tool_call_argument_begin|>",
            "<|tool_call_end|>",
        ),
        between="",
    ),
    "kimi_k3": Layout(
        Whole(
            '<|open|>call tool="{name}" index="{number}"<|sep|><|open|>json type="object"<|sep|>',
            "<|close|>json<|sep|><|close|>call<|sep|>",
        ),
        between="",
    ),
    "gemma4": Layout(Bare("call:{name}", '<|"|>')),
    "function_gemma": Layout(Bare("call:{name}", "<escape>", is_flat=True, letter="[^}]")),
}


def find_layout(parser: str, template: str) -> Layout | None:
    """That of the calls which mlx-lm's `parser` reads, as the chat `template` has them; `None` for one not known."""
    if parser == "mistral":
        return _MISTRAL if "[ARGS]" in template else _MISTRAL_LIST
    if parser == "glm47":
        return Layout(_GLM if "</arg_key>\n" in template or "</arg_key>\\n" in template else _GLM_SHORT)
    return _LAYOUTS.get(parser)

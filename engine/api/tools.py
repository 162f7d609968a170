"""Tools that a model may call: what it is told of them, what it asks of them, and what they answered.

Plain data; knows nothing of any model's way of writing a call.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, cast

from engine.api.errors import RequestError

_NAME = re.compile(r"[\w.-]{1,128}")
NO_PARAMETERS = '{"type": "object", "properties": {}}'


class ToolChoice(Enum):
    """Whether an answer may, must not or has to call tools. A single tool is asked for by its name instead."""

    AUTO = "auto"
    NONE = "none"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    """Letters, digits, `_`, `-` and `.`."""
    description: str = ""
    parameters: str = NO_PARAMETERS
    """A JSON schema of the arguments, itself an object; kept as JSON text with the keys in the order given."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise RequestError(
                f"A tool is called {self.name!r}.", "Use letters, digits, _, - and . only, 128 of them at most."
            )
        object.__setattr__(self, "parameters", canonical(self.parameters, f"The parameters of the tool {self.name}"))

    @classmethod
    def from_openai(cls, given: Mapping[str, Any]) -> "Tool":
        """From `{"type": "function", "function": {"name", "description", "parameters"}}`, or the inner object alone.

        `strict` changes nothing: arguments are held to their schema wherever a tool has to be called, and nowhere else.
        Raises `RequestError` for another shape or for keys that nobody knows.
        """
        if given.get("type", "function") != "function":
            raise RequestError(f"A tool is of type {given['type']!r}.", "Use function.", code="bad_tool")
        inner = given.get("function", {name: value for name, value in given.items() if name != "type"})
        if not isinstance(inner, Mapping):
            raise RequestError("A tool has no name.", 'Write {"type": "function", "function": {"name": ...}}.')
        function = cast(Mapping[str, Any], inner)
        if unknown := set(function) - {"name", "description", "parameters", "strict"}:
            raise RequestError(f"A tool has {', '.join(sorted(unknown))}, which is not known.", "Leave it out.")
        if not isinstance(function.get("strict"), bool | None):
            raise RequestError("A tool is neither strict nor not strict.", "Use true or false, or leave strict out.")
        schema = function.get("parameters")
        return cls(
            str(function.get("name", "")),
            str(function.get("description") or ""),
            NO_PARAMETERS if schema is None else json.dumps(schema, ensure_ascii=False),
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """In an assistant's message: that it called a tool. `arguments_json` is a JSON object as text."""

    id: str
    name: str
    arguments_json: str = "{}"

    def __post_init__(self) -> None:
        text = canonical(self.arguments_json or "{}", f"The arguments of the call of {self.name}")
        object.__setattr__(self, "arguments_json", text)


@dataclass(frozen=True, slots=True)
class ToolResult:
    """In a message of the role tool: what the call of that id gave."""

    id: str
    text: str


def check_choice(tools: Sequence[Tool], choice: ToolChoice | str) -> None:
    """Raises `RequestError` for tools of one name, or a choice that none of them can meet."""
    names = [tool.name for tool in tools]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RequestError(f"There are several tools called {', '.join(sorted(twice))}.", "Rename them.")
    if isinstance(choice, str) and choice not in names:
        raise RequestError(f"There is no tool called {choice!r}.", "Name one of the tools given.")
    if choice is ToolChoice.REQUIRED and not names:
        raise RequestError("A tool has to be called, but none is given.", "Give tools, or leave the choice out.")


def canonical(text: str, what: str) -> str:
    """A JSON object as text, written one way. Raises `RequestError`, saying `what` it is, for anything else."""
    try:
        value = json.loads(text)
        if not isinstance(value, dict):
            raise RequestError(f"{what} are not a JSON object.", "Write them between { and }.", code="bad_tool")
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        # Half of a surrogate pair is no character: nothing could read it.
        written.encode()
        return written
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{what} are not JSON: {error}.", "Check the quotes and commas.", code="bad_tool") from error

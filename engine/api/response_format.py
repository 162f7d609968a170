"""The forms an answer can be held to, token by token: JSON, a schema, a regular expression, a choice, a grammar.

Knows nothing of how they are enforced, nor of the limits on their size (`ConstraintLimits`).
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from engine.api.errors import RequestError


@dataclass(frozen=True, slots=True)
class JsonObject:
    """Any JSON object."""


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """JSON that a schema (draft 2020-12) allows; see `JsonSchema.of` for one that is not text.

    Properties come in the order of the schema. Raises `RequestError` for text that is no schema.
    """

    schema: str
    """As JSON text; kept without needless whitespace."""
    strict: bool = False
    """Objects that list their properties have no others, unless the schema allows it in so many words."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "schema", _canonical(self.schema))

    @classmethod
    def of(cls, schema: Mapping[str, object] | bool | str, *, strict: bool = False) -> "JsonSchema":
        if isinstance(schema, str):
            return cls(schema, strict)
        try:
            return cls(json.dumps(schema, allow_nan=False), strict)
        except (TypeError, ValueError, RecursionError) as error:
            raise RequestError(f"The JSON schema cannot be written as JSON: {error}.", _SCHEMA_HINT) from error


@dataclass(frozen=True, slots=True)
class Regex:
    """Text that a regular expression matches as a whole. Without look-around and back-references."""

    pattern: str

    def __post_init__(self) -> None:
        _check_text("regular expression", self.pattern)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several texts."""

    options: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.options:
            raise RequestError("There is nothing to choose from.", "Give at least one text.")
        for option in self.options:
            _check_text("choice", option)


@dataclass(frozen=True, slots=True)
class Grammar:
    """Text that a context-free grammar derives from its rule `start`. The grammar is written as Lark writes it."""

    text: str

    def __post_init__(self) -> None:
        _check_text("grammar", self.text)


ResponseFormat = JsonObject | JsonSchema | Regex | Choice | Grammar

_SCHEMA_HINT = 'A schema is a JSON object such as {"type": "object", "properties": {...}}.'
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


def _check_text(name: str, text: str) -> None:
    if not text:
        raise RequestError(f"The {name} is empty.", "Leave it out for an answer of any form.")
    if _HALF_A_PAIR.search(text):
        raise RequestError(f"The {name} holds half of a surrogate pair, which is no character.", "Write it as UTF-8.")


def _canonical(text: str) -> str:
    try:
        schema = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
        written = json.dumps(schema, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"The JSON schema is not JSON: {error}.", _SCHEMA_HINT) from error
    if not isinstance(schema, dict | bool):
        raise RequestError("The JSON schema is neither an object nor true or false.", _SCHEMA_HINT)
    _check_text("JSON schema", written)
    return written


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"The JSON schema says {twice!r} twice in one object.", "Keep one of the two.")
    return found


def _no_constant(name: str) -> object:
    raise RequestError(f"The JSON schema holds {name}, which is not JSON.", "Leave it out.")

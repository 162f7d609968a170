"""Arguments in the notation of Gemma's calls: objects without quotes at their keys, and quotes of the model's own.

Knows nothing of what stands around them.
"""

import re
from typing import Any

from engine.api.errors import RequestError
from engine.constrain.layouts import Bare
from engine.constrain.rules import Rules
from engine.constrain.subschema import REMARKS, properties_of, texts_of, unwritable

_KEY = re.compile(r"\w+")


class BareNotation:
    """Of the arguments of one tool."""

    def __init__(self, rules: Rules, bare: Bare, tool: str, schema: dict[str, Any]) -> None:
        self._rules = rules
        self._bare = bare
        self._tool = tool
        self._schema = schema
        self._named: dict[str, str] = {}

    def object(self, schema: dict[str, Any], place: str = "#") -> str:
        """Raises `RequestError` for what cannot be written in this notation, by name."""
        members = []
        for name, part, is_required in properties_of(schema, self._tool, place):
            if not _KEY.fullmatch(name):
                raise self._refusal(place, f"a property called {name!r}")
            value = self._value(part, f"{place}/properties/{name}")
            members.append((f"{self._rules.literal(f'{name}:')} {value}", is_required))
        return f"{self._rules.literal('{')} {self._rules.sequence(members, ',')} {self._rules.literal('}')}"

    def _value(self, schema: Any, place: str) -> str:
        if (texts := texts_of(schema)) is not None:
            return self._text(texts)
        if not isinstance(schema, dict):
            raise self._refusal(place, "nothing of what it is")
        if "$ref" in schema:
            return self._referred(schema["$ref"], place)
        for key in ("anyOf", "oneOf"):
            if isinstance(schema.get(key), list):
                parts = [self._value(part, f"{place}/{key}/{number}") for number, part in enumerate(schema[key])]
                return f"({' | '.join(parts)})"
        kind = schema.get("type")
        if isinstance(kind, list):
            parts = [self._value({**schema, "type": one}, place) for one in kind]
            return f"({' | '.join(parts)})"
        match kind:
            case "integer" | "number" | "boolean" | "null":
                return self._rules.json(schema)
            case "array" if not self._bare.is_flat:
                return self._list(schema, place)
            case "object" if not self._bare.is_flat:
                return self.object(schema, place)
            case "string":
                raise self._refusal(place, f"{_more(schema, ('type',))!r} of a text")
        raise self._refusal(place, "nothing of its type" if kind is None else f"the type {kind!r}")

    def _text(self, texts: tuple[str, ...]) -> str:
        quote = self._rules.literal(self._bare.quote)
        if not texts:
            return f"{quote} {self._rules.text_until(self._bare.quote, self._bare.letter)}"
        return f"{quote} ({' | '.join(map(self._rules.literal, texts))}) {quote}"

    def _list(self, schema: dict[str, Any], place: str) -> str:
        if more := _more(schema, ("type", "items", "minItems", "maxItems")):
            raise self._refusal(place, f"{more!r} of a list")
        least, most = schema.get("minItems", 0), schema.get("maxItems")
        opening, closing = self._rules.literal("["), self._rules.literal("]")
        if most == 0:
            return f"{opening} {closing}"
        item = self._rules.add(self._value(schema.get("items"), f"{place}/items"))
        bounds = f"{{{max(least - 1, 0)},{'' if most is None else most - 1}}}"
        several = item if most == 1 else f"{item} ({self._rules.literal(',')} {item}){bounds}"
        return f"{opening} ({several}){'' if least else '?'} {closing}"

    def _referred(self, reference: Any, place: str) -> str:
        if reference not in self._named:
            self._named[reference] = self._rules.later()
            self._rules.define(self._named[reference], self._value(self._found(reference, place), str(reference)))
        return self._named[reference]

    def _found(self, reference: Any, place: str) -> Any:
        found: Any = self._schema
        start, *steps = str(reference).split("/")
        for step in steps:
            found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
        if start != "#" or found is None:
            raise self._refusal(place, f"$ref {reference!r}, which is not there")
        return found

    def _refusal(self, place: str, what: str) -> RequestError:
        return unwritable(self._tool, f"{place} says {what}")


def _more(schema: dict[str, Any], known: tuple[str, ...]) -> str:
    return next((key for key in schema if key not in {*known, *REMARKS}), "")

"""A grammar of llguidance's that is put together rule by rule, with schemas and other grammars in it.

Knows nothing of what it describes. Source: llguidance's docs/syntax.md.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from engine.constrain.json_grammar import schema_grammar


class Rules:
    """Everything here gives an expression in the notation of Lark, which may stand in another one."""

    def __init__(self, control: Mapping[str, int]) -> None:
        """`control`: tokens that are no text, by their words."""
        self._control = control
        longest_first = sorted(control, key=len, reverse=True)
        self._words = re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")
        self._rules: dict[str, str] = {}
        self._included: list[dict[str, Any]] = []
        self._texts: dict[str, str] = {}

    def add(self, expression: str, options: str = "") -> str:
        """As a rule of its own."""
        name = self.later()
        self._rules[name] = f"{name}{options}: {expression}"
        return name

    def later(self) -> str:
        """The name of a rule that `define` is to be called for."""
        name = f"r{len(self._rules)}"
        self._rules[name] = ""
        return name

    def define(self, name: str, expression: str) -> None:
        self._rules[name] = f"{name}: {expression}"

    def literal(self, text: str) -> str:
        parts = [part for part in self._words.split(text) if part]
        return " ".join(f"<[{self._control[part]}]>" if part in self._control else _quoted(part) for part in parts)

    def text_until(self, end: str, letter: str = "(?s:.)") -> str:
        """Any text of such letters, a regular expression, and the first `end` behind it. Always the same letters."""
        if end not in self._texts:
            self._texts[end] = self._text_until(end, letter)
        return self._texts[end]

    def sequence(self, members: Sequence[tuple[str, bool]], joint: str) -> str:
        """`members` in their order, those that need not be there left out at will, with `joint` between them."""
        between = self.literal(joint)
        first, behind, may_be_empty = "", "", True
        for member, is_required in reversed(members):
            alone = f"{member} {behind}"
            first = alone if is_required or not first else self.add(f"{alone} | {first}")
            may_be_empty &= not is_required
            joined = f"{between} {member}"
            behind = self.add(f"{joined} {behind}" if is_required else f"({joined})? {behind}")
        return f"({first}){'?' if may_be_empty else ''}" if first else ""

    def json(self, schema: Any) -> str:
        return self.include(json.loads(schema_grammar(json.dumps(schema))))

    def include(self, grammar: Mapping[str, Any]) -> str:
        """One of llguidance's, with its first part only."""
        name = f"g{len(self._included)}"
        self._included.append({**grammar["grammars"][0], "name": name})
        return f"@{name}"

    def grammar(self, start: str) -> str:
        lark = "\n".join((f"start: {start}", *self._rules.values()))
        return json.dumps({"grammars": [{"lark_grammar": lark}, *self._included]})

    def _text_until(self, end: str, letter: str) -> str:
        plain, *others = self._words.split(end, maxsplit=1)
        if plain:
            lazy = self.add(f"/{letter}*/", f"[suffix={_quoted(plain)}]")
            return f"{lazy} {self.literal(''.join(others))}"
        # The words of a token that ends a text would end it for whoever reads it.
        name = f"T{len(self._rules)}"
        self._rules[name] = f"{name}: /{letter}*/ & ~/(?s:.*){_pattern(others[0])}(?s:.*)/"
        return f"{name} {self.literal(end)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _pattern(text: str) -> str:
    return re.escape(text).replace("/", r"\/")

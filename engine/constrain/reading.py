"""Calls that were held to a layout, read by it: what stands where is known, so nothing is guessed.

Knows nothing of streams. Models that are not held may write otherwise; mlx-lm's parsers read those.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.constrain.layouts import Apart, Layout
from engine.constrain.subschema import texts_of


def read_calls(text: str, layout: Layout, tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What stands between two markers, of tools in OpenAI's shape, as `{"name", "arguments"}`. Raises `ValueError` for
    anything but whole calls; `layout.call` is `Apart`."""
    reader = _Reader(text, layout.call, [tool["function"] for tool in tools])
    reader.skip(layout.opening)
    calls = [reader.call()]
    while layout.between is not None and not reader.is_at_end(layout.closing):
        reader.skip(layout.between)
        calls.append(reader.call())
    reader.skip(layout.closing)
    if not reader.is_at_end(""):
        raise ValueError(f"there is more behind the calls at {reader.at}")
    return calls


class _Reader:
    def __init__(self, text: str, apart: Apart, tools: Sequence[Mapping[str, Any]]) -> None:
        self.at = 0
        self._text = text
        self._apart = apart
        # A name may begin another one.
        self._tools = sorted(tools, key=lambda tool: len(tool["name"]), reverse=True)

    def skip(self, word: str) -> None:
        if not self._text.startswith(word, self.at):
            raise ValueError(f"{word!r} does not stand at {self.at}")
        self.at += len(word)

    def is_at_end(self, closing: str) -> bool:
        return self._text[self.at :] == closing

    def call(self) -> dict[str, Any]:
        apart = self._apart
        tool = next((tool for tool in self._tools if self._comes(apart.head.replace("{name}", tool["name"]))), None)
        if tool is None:
            raise ValueError(f"no tool is called at {self.at}")
        arguments: dict[str, Any] = {}
        for name, schema in tool["parameters"].get("properties", {}).items():
            joint = apart.joint if arguments else ""
            if self._comes(joint + apart.before.replace("{key}", name)):
                arguments[name] = self._value(schema)
        self.skip(apart.tail)
        return {"name": tool["name"], "arguments": arguments}

    def _comes(self, word: str) -> bool:
        """Passes it if it does."""
        found = self._text.startswith(word, self.at)
        self.at += len(word) if found else 0
        return found

    def _value(self, schema: Any) -> Any:
        start, after = self.at, self._apart.after
        if self._apart.has_texts and texts_of(schema) is not None:
            self.at = self._text.index(after, start) + len(after)
            return self._text[start : self.at - len(after)]
        value, self.at = json.JSONDecoder().raw_decode(self._text, start)
        self.skip(after)
        return value

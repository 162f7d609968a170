"""Frames as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html).

Knows nothing of what is in them.
"""

import json
from collections.abc import Iterable
from types import MappingProxyType

from engine.serve.wire.frames import Frame

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"
HEADERS = MappingProxyType({"cache-control": "no-cache", "x-accel-buffering": "no"})

# Some clients take these for the end of a line, which the standard does not.
_LINE_ENDS = {ord(letter): f"\\u{ord(letter):04x}" for letter in "\x85\u2028\u2029"}


def encoded(frames: Iterable[Frame]) -> bytes:
    return b"".join(map(_encode, frames))


def json_bytes(value: object) -> bytes:
    """Half of a surrogate pair, which is no character, is written as JSON escapes it."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.translate(_LINE_ENDS).encode(errors="backslashreplace")


def _encode(frame: Frame) -> bytes:
    name = f"event: {frame.event}\n".encode() if frame.event else b""
    data = frame.data.encode() if isinstance(frame.data, str) else json_bytes(frame.data)
    return name + b"".join(b"data: " + line + b"\n" for line in data.split(b"\n")) + b"\n"

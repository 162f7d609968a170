"""Which web pages may ask the local API, read from what a person typed.

Knows nothing of the guard that holds pages to it.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Origins:
    found: tuple[str, ...] = ()
    problem: str = ""
    """What is wrong with the first that cannot be one; empty if nothing is."""


def read_origins(text: str) -> Origins:
    """Origins between spaces, commas or line ends: scheme, host and port of a page, and nothing after them."""
    found: list[str] = []
    for word in re.split(r"[\s,;]+", text.strip()):
        if not word:
            continue
        if problem := _problem(word):
            return Origins((), problem)
        origin = word.rstrip("/").lower()
        if origin not in found:
            found.append(origin)
    return Origins(tuple(found))


def _problem(word: str) -> str:
    if "*" in word:
        return "Name each page: with * any website you visit could use the model."
    example = "Write it like http://localhost:3000."
    try:
        parts = urlsplit(word)
        port_fits = parts.port is None or parts.port > 0
    except ValueError:
        return f"“{word}” is no address of a page. {example}"
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_fits or "@" in parts.netloc:
        return f"“{word}” is no address of a page. {example}"
    if parts.path.strip("/") or parts.query or parts.fragment:
        return f"“{word}” says more than where the page comes from. {example}"
    return ""

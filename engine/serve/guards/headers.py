"""Headers of a request as bytes off the wire, before anything has made sense of them.

Knows nothing of what any of them means.
"""

from starlette.types import Scope


def values_of(scope: Scope, name: bytes) -> list[str]:
    """All of that name, in the order in which they came; names are in lower case."""
    return [value.decode("latin-1").strip() for given, value in scope["headers"] if given.lower() == name]

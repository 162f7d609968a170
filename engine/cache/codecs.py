"""The codecs there are, by their names.

Knows nothing of settings or caches.
"""

from engine.cache.codec import Codec
from engine.cache.turboquant import TurboQuant
from engine.cache.uniform import Uniform

_KINDS = {kind.kind: kind for kind in (Uniform, TurboQuant)}


def codec_of(name: str) -> Codec:
    """The codec that calls itself `name`. Raises `ValueError` for a name that no codec has."""
    kind, *numbers = name.split("-")
    if kind not in _KINDS or len(numbers) != 2:
        raise ValueError(f"there is no codec {name!r}")
    return _KINDS[kind](*map(int, numbers))

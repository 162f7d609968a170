"""Fovea's engine, and its Python API by mlx-vlm's names: `from engine import load, generate, apply_chat_template`.

Importing it costs nothing: each name brings its module, and MLX behind it, when it is first used.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "load": "engine.python.loading",
    "load_config": "engine.python.loading",
    "generate": "engine.python.generating",
    "stream_generate": "engine.python.generating",
    "batch_generate": "engine.python.generating",
    "apply_chat_template": "engine.python.templating",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

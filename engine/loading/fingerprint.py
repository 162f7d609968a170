"""What caches depend on, in one word: as long as it is the same, what was computed once can be used again.

Knows nothing of caches.
"""

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlx_lm
from mlx.utils import tree_flatten

import engine
from engine.api.settings import CacheSettings
from engine.loading.adapter import digest
from engine.models.base import VisionLanguageModel

FORMAT = 1
"""Of entries on the disk; one more when it changes."""


def fingerprint(
    folder: Path,
    config: Mapping[str, Any],
    model: VisionLanguageModel,
    settings: CacheSettings | None,
    adapter: Path | None = None,
) -> str:
    """Of the files in a model's folder, its config, the types of its weights, how caches are kept, and the code that
    computes them; without `settings`, of what does not depend on how they are kept. Weights are told by their names,
    sizes and times, not read; those of an `adapter`, which are small and of one size after each training, are read."""
    facts = {
        "format": FORMAT,
        "files": _facts(path for path in folder.iterdir() if path.is_file()),
        "config": config,
        "weights": [(name, value.shape, str(value.dtype)) for name, value in tree_flatten(model.parameters())],
        "kept": settings and _kept(settings),
        "adapter": adapter and digest(adapter),
        "code": [mlx_lm.__version__, _code()],
    }
    return sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:32]


def _kept(settings: CacheSettings) -> list[object]:
    return [settings.kv_bits, settings.kv_quant_scheme.value, settings.kv_group_size, settings.max_kv_size]


def _code() -> list[tuple[str, int, int]]:
    """The engine's own files, or the archive they are in."""
    root = Path(engine.__file__).parent
    if root.is_dir():
        return _facts(root.rglob("*.py"))
    return _facts([next(path for path in root.parents if path.exists())])


def _facts(paths: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Name, size and time."""
    found = ((path.name, path.stat()) for path in sorted(paths))
    return [(name, facts.st_size, facts.st_mtime_ns) for name, facts in found]

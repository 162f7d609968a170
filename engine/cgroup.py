"""The memory a Linux container may use: the kernel ends whoever takes more, however much the machine has free.

Knows nothing of models. Reads control groups of version 2, then of version 1; outside a container there is no limit.
"""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class _Layout:
    limit: str
    used: str
    stat: str
    reclaimable: str
    """The row of `stat` that counts cached files, which the kernel gives back before it refuses memory."""


_LAYOUTS = (
    _Layout("memory.max", "memory.current", "memory.stat", "inactive_file"),
    _Layout(
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)


def memory_limit(root: Path = ROOT) -> int | None:
    """Bytes; `None` without a limit."""
    return next((limit for layout in _LAYOUTS if (limit := _number(root / layout.limit)) is not None), None)


def memory_left(root: Path = ROOT) -> int | None:
    """Bytes that may still be taken; `None` without a limit."""
    for layout in _LAYOUTS:
        limit, used = _number(root / layout.limit), _number(root / layout.used)
        if limit is not None and used is not None:
            return limit - used + _row(root / layout.stat, layout.reclaimable)
    return None


def _number(path: Path) -> int | None:
    """What a file says; `None` where it is missing or says "max"."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _row(path: Path, name: str) -> int:
    try:
        rows = dict(line.split() for line in path.read_text().splitlines())
        return int(rows.get(name, 0))
    except (OSError, ValueError):
        return 0

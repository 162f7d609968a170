"""The short list of models worth having, and which of them suits this machine.

Knows nothing of downloading; the list itself is data (`resources/catalogue.json`), poorest model first.
"""

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger("fovea.app")

USABLE_SHARE = 0.8
"""Of a machine's memory, what one model can take at all."""
EASY_SHARE = 0.6
"""What it can take with the rest of the system still at ease."""
EASY_SHARE_CPU = 0.25
"""There a model has to be small to answer in reasonable time, too."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What matters of this computer when a model is chosen."""

    memory_bytes: int
    on_cpu: bool
    """Without a GPU of Apple's, weights are widened to float32 and take more memory."""


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    repo_id: str
    name: str
    download_bytes: int
    memory_bytes: int
    """Weights, caches and the buffers of a few pictures, on a GPU of Apple's."""
    memory_bytes_cpu: int
    good_at: str

    def needed_on(self, machine: Machine) -> int:
        return self.memory_bytes_cpu if machine.on_cpu else self.memory_bytes

    def fits(self, machine: Machine) -> bool:
        return self.needed_on(machine) <= machine.memory_bytes * USABLE_SHARE

    def suits(self, machine: Machine) -> bool:
        share = EASY_SHARE_CPU if machine.on_cpu else EASY_SHARE
        return self.needed_on(machine) <= machine.memory_bytes * share


def read_catalogue(path: Path) -> tuple[CatalogueEntry, ...]:
    """Empty where there is no readable list: the app does its work without one."""
    try:
        return tuple(CatalogueEntry(**entry) for entry in json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s cannot be read, so no models are offered: %s", path, error)
        return ()


def best_for(machine: Machine, catalogue: Iterable[CatalogueEntry]) -> CatalogueEntry | None:
    """The last, so the best, of those that suit it."""
    best = None
    for entry in catalogue:
        if entry.suits(machine):
            best = entry
    return best

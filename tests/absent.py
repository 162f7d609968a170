"""Makes packages look as if they were not installed, for a test run that has to do without them."""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


class Absent(MetaPathFinder):
    def __init__(self, *packages: str) -> None:
        self._packages = packages

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"{fullname} is hidden in this test run", name=fullname)
        return None


def hide(*packages: str) -> None:
    already = [name for name in packages if name in sys.modules]
    if already:
        raise RuntimeError(f"too late to hide {', '.join(already)}")
    sys.meta_path.insert(0, Absent(*packages))

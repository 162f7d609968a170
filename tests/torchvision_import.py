"""Makes torchvision importable beside a PyTorch that its compiled operators were not built for.

Some of the reference's processors are written with torchvision's resizing, which is PyTorch's own. Its other operators
are never called here, but it wants to know their names when it is imported.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _Declaring(MetaPathFinder):
    """Finds nothing itself: whoever looks for torchvision first, makes it declare, without bodies, what is missing."""

    library: Any = None

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "torchvision" and self.library is None:
            import torch

            self.library = torch.library.Library("torchvision", "FRAGMENT")
            for name in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, name):
                    self.library.define(name + _SIGNATURE)


def declare_operators_when_imported() -> None:
    sys.meta_path.insert(0, _Declaring())

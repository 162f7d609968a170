"""Makes torchvision importable beside a PyTorch that its compiled operators were not built for.

Some of the reference's processors are written with torchvision's resizing, which is PyTorch's own. Its other operators
are never called here, but it wants to know their names when it is imported.
"""

import torch

_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> torch.library.Library:
    """Declares, without bodies, the operators torchvision asks for and cannot find. The result has to be kept."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(name + _SIGNATURE)
    return library

"""CLIP's vision tower (arXiv 2103.00020).

Knows nothing of the text side of CLIP.
"""

from engine.models.towers.vit import VisionTransformer, ViTConfig


class ClipTower(VisionTransformer):
    """A class token comes first; the norm in front of the layers stands in for a bias on the patches."""

    def __init__(self, config: ViTConfig):
        super().__init__(config, class_token=True, patch_bias=False, pre_norm=True)

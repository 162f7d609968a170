"""SigLIP's vision tower (arXiv 2303.15343), which Idefics3 and many others look through.

Knows nothing of the text side of SigLIP.
"""

from engine.models.towers.vit import VisionTransformer, ViTConfig


class SiglipTower(VisionTransformer):
    """No class token: every feature is one patch."""

    def __init__(self, config: ViTConfig):
        super().__init__(config, class_token=False, patch_bias=True, pre_norm=False)

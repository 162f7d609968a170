"""How long a text may be for several of its tokens to be run in one step and taken back as if they had come one by one.

Knows nothing of caches, which say for themselves whether they have a way back.
"""

import sys

import mlx.nn as nn
from mlx_lm.models.rope_utils import DynamicNTKScalingRoPE

from engine.models.layers.longrope import LongRope


def reach(model: nn.Module) -> int:
    """Tokens. Beyond them a rotary module turns by the length that a text has at the end of a step."""
    limits = [module.limit for module in model.modules() if isinstance(module, LongRope)]
    limits += [
        module.max_position_embeddings for module in model.modules() if isinstance(module, DynamicNTKScalingRoPE)
    ]
    return min(limits, default=sys.maxsize)

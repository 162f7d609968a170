"""What mlx-lm's Gemma 4 does not read of a config: refused where it would matter, and a head of its own.

Knows nothing of how the decoder is built. Source: transformers `modeling_gemma4.py`.
"""

import mlx.nn as nn
from mlx_lm.models.gemma4_text import Model

from engine.api.errors import CheckpointError
from engine.models.base import Config

_KNOWN = {
    "attention_bias": (False, None),
    "hidden_activation": ("gelu_pytorch_tanh",),
    "use_bidirectional_attention": (None, "vision"),
}
_ROTARY = ("default", "proportional")


class Gemma4Decoder(Model):
    @property
    def tie_word_embeddings(self) -> bool:
        """As others of mlx-lm's have it: what becomes of its arguments while weights are read counts."""
        return self.args.tie_word_embeddings


def refuse_unread(decoder: nn.Module, config: Config) -> None:
    """Raises `CheckpointError` for a setting that `decoder` would pass over."""
    for name, known in _KNOWN.items():
        if config.get(name, known[0]) not in known:
            raise CheckpointError(f"The config says {name}: {config[name]!r}, which is not known for Gemma 4.")
    for attention in (layer.self_attn for layer in decoder.layers):
        rotary = config["rope_parameters"][attention.layer_type]
        share = rotary.get("partial_rotary_factor", 1.0) if rotary["rope_type"] == "proportional" else 1.0
        if rotary["rope_type"] not in _ROTARY or int(share * attention.head_dim) % 2:
            raise CheckpointError(
                f"The config turns heads of {attention.head_dim} channels by {rotary}, which is not known for Gemma 4."
            )
    decoder.__class__ = Gemma4Decoder

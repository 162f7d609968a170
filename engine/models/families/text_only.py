"""Any text model that mlx-lm runs.

Knows no model type: the registry turns here when no other family claims one and the config speaks of text alone.
"""

import mlx.core as mx

from engine.api.events import Modality
from engine.models.base import Config, Family, VisionLanguageModel
from engine.models.decoders.text import PREFIX, build_decoder, sanitize_decoder


class TextOnly(VisionLanguageModel):
    """A decoder by itself."""

    def __init__(self, config: Config):
        super().__init__()
        self.language_model = build_decoder(config)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        return sanitize_decoder(self.language_model, {PREFIX + name: tensor for name, tensor in weights.items()})


FAMILY = Family(model_types=(), modalities=frozenset({Modality.TEXT}), build=TextOnly)

"""Any text model that mlx-lm runs.

Knows no model type: the registry turns here when no other family claims one and the config speaks of text alone.
"""

import mlx.core as mx
import numpy as np

from engine.api.events import Modality
from engine.models.base import Config, Family, VisionLanguageModel
from engine.models.decoders.phi3 import TurnsByLength
from engine.models.decoders.text import PREFIX, build_decoder, sanitize_decoder


class TextOnly(VisionLanguageModel):
    """A decoder by itself."""

    def __init__(self, config: Config):
        super().__init__()
        self.language_model = build_decoder(config)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        stops = super().prefill_stops(token_ids, step)
        by_length = isinstance(self.language_model, TurnsByLength)
        return self.language_model.stops_of(len(token_ids), stops) if by_length else stops

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        return sanitize_decoder(self.language_model, {PREFIX + name: tensor for name, tensor in weights.items()})


FAMILY = Family(model_types=(), modalities=frozenset({Modality.TEXT}), build=TextOnly)

"""LLaVA-NeXT (llava-vl.github.io, January 2024) and Granite Vision (arXiv 2502.09927): tiles at several resolutions.

Knows nothing of the other families.
"""

from pathlib import Path

from engine.api.events import Modality
from engine.models.base import Config, Family, TokenizerLike
from engine.models.joined.anyres import AnyresModel, laid_out_shape, read_anyres, square
from engine.models.recipes.anyres import AnyresProcessor
from engine.models.recipes.preprocessor import slot_of


class LlavaNext(AnyresModel):
    def __init__(self, config: Config):
        super().__init__(config)
        if config["text_config"]["model_type"] == "granite":
            # transformers 5 leaves Granite's own division of the logits out inside this model; so the numbers are its.
            self.language_model.logits_scaling = 1.0


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> AnyresProcessor:
    """From the checkpoint's preprocessor file. Without one, tiles of the tower's size at the config's resolutions."""
    vision = laid_out_shape(config)
    side = square(vision.image_size)
    standard = {"image_processor_type": "LlavaNextImageProcessor", "size": side, "crop_size": side}
    recipe = read_anyres(folder, config, standard)
    slot_id = slot_of(tokenizer, AnyresProcessor.marker, config["image_token_index"])
    return AnyresProcessor(recipe, vision.image_size, vision.grid, slot_id)


FAMILY = Family(
    model_types=("llava_next",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=LlavaNext,
    processor=read_processor,
)

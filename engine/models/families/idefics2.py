"""Idefics2 (arXiv 2405.02246): SigLIP at a picture's own shape, a perceiver that makes a few features of any number.

Mistral reads them. Knows nothing of the other families.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError, MediaError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.gated_mlp import GatedMLP
from engine.models.names import IDEFICS, rename
from engine.models.projectors.perceiver import PerceiverConfig, PerceiverResampler
from engine.models.recipes.native_aspect import NativeAspectRecipe
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.towers.features import last
from engine.models.towers.siglip import SiglipTower
from engine.models.towers.vit import ViTConfig, sanitize_tower

AROUND = "<fake_token_around_image>"

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% if message['content'] is string %} {{ message['content'] }}{% else %}"
    "{{ '' if message['content'][0]['type'] == 'image' else ' ' }}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


class Connector(nn.Module):
    def __init__(self, in_size: int, text: Config, perceiver: PerceiverConfig):
        super().__init__()
        self.modality_projection = GatedMLP(
            in_size, text["intermediate_size"], hidden_act=text["hidden_act"], bias=False, out=text["hidden_size"]
        )
        self.perceiver_resampler = PerceiverResampler(perceiver)

    def __call__(self, x: mx.array) -> mx.array:
        """(N, L, in_size) -> (N, latents, D)."""
        return self.perceiver_resampler(self.modality_projection(x))


class Idefics2(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, text = ViTConfig.read(config["vision_config"]), config["text_config"]
        self.vision_model = SiglipTower(vision)
        self.connector = Connector(
            vision.hidden_size, text, PerceiverConfig.read(config["perceiver_config"], text["hidden_size"])
        )
        self.language_model = build_decoder(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (N, 3, H, W), `sizes` (N, 2) -> (N * latents, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        seen = []
        for pixels, (height, width) in zip(media.arrays["pixel_values"], media.arrays["sizes"].tolist(), strict=True):
            shown = mx.array(pixels[None, :, :height, :width])
            seen.append(self.connector(self.vision_model(shown))[0])
            mx.eval(seen[-1])
            yield
        yield mx.concatenate(seen)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, IDEFICS), "vision_model.")
        return sanitize_decoder(self.language_model, weights)


class Idefics2Processor:
    marker = "<image>"

    def __init__(self, recipe: NativeAspectRecipe, latents: int, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe
        self._latents = latents

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        if self._recipe.quartered and min(picture.size) < 2:
            raise MediaError(
                f"The picture is {picture.width} x {picture.height} pixels, too narrow to be looked at in quarters.",
                "Choose a larger one.",
            )
        pixels, sizes = self._recipe(picture)
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": pixels, "sizes": np.array(sizes)},
            expansion=AROUND + (self.marker * self._latents + AROUND) * len(sizes),
            feature_count=self._latents * len(sizes),
            digest=fingerprint(digest, self._recipe),
            finish=set_apart,
        )


def set_apart(prompt: str) -> str:
    """Pictures side by side share the mark between them; a word right behind a picture gets a space before it."""
    return re.sub(rf"{AROUND}(?=[^\s<])", f"{AROUND} ", prompt.replace(AROUND * 2, AROUND))


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Idefics2Processor:
    """From the checkpoint's preprocessor file; what it does not say is as in its type by default. Raises
    `CheckpointError` if pictures may be smaller than a patch."""
    recipe, patch = NativeAspectRecipe.read(read_preprocessor(folder)), config["vision_config"]["patch_size"]
    if recipe.shortest < patch:
        raise CheckpointError(f"The preprocessor file allows sides of {recipe.shortest} pixels, a patch has {patch}.")
    slot_id = slot_of(tokenizer, Idefics2Processor.marker, config["image_token_id"])
    return Idefics2Processor(recipe, config["perceiver_config"]["resampler_n_latents"], slot_id)


FAMILY = Family(
    model_types=("idefics2",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Idefics2,
    processor=read_processor,
    chat_template=TEMPLATE,
)

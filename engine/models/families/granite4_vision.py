"""Granite Vision 4.0 and 4.1: a SigLIP tower, tiles, and a Granite that is told at eight of its layers what is seen.

Four layers of the tower go to one layer of the decoder each, and the last of them once more, in four parts, to four
others. Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.deepstack import DeepStack
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.layers.qformer import QFormerConfig
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.tile_rows import laid_out
from engine.models.projectors.window_qformer import WindowQFormer
from engine.models.recipes.anyres import AnyresProcessor, AnyresRecipe
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor, slot_of
from engine.models.towers.features import build_tower, last, tile_by_tile
from engine.models.towers.vit import ViTConfig, sanitize_tower

CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))

QUERY_HEAD = 64
"""Channels of a head of the projectors, whatever the config says (transformers `configuration_granite4_vision.py`)."""

TEMPLATE = (
    "{% for message in messages %}<|start_of_role|>{{ message['role'] }}<|end_of_role|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|end_of_text|>\n{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)


class Granite4Vision(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, width = ViTConfig.read(config["vision_config"]), config["text_config"]["hidden_size"]
        window, queries = _window(config, vision), _queries(config, vision)
        deep, spatial = config["deepstack_layer_map"], config["spatial_target_layers"]
        self._deep = [seen for seen, _ in deep]
        self._spatial = config["spatial_vision_layer"]
        self._width = width
        self._drops_first = config["vision_feature_select_strategy"] == "default"
        self.vision_tower = build_tower(config["vision_config"])
        self.layerwise_projectors = [WindowQFormer(queries, width, window=window, corner=None) for _ in deep]
        self.spatial_projectors = [WindowQFormer(queries, width, window=window, corner=corner) for corner in CORNERS]
        self.image_newline = mx.zeros((width,))
        self.language_model = _decoder(config["text_config"])
        self._stack = DeepStack(self.language_model, width, [*(told for _, told in deep), *spatial], ahead=True)

    def encode(self, media: PreparedMedia) -> mx.array:
        """As `AnyresProcessor` prepares it -> (features, D * 8), a part for each layer that is told."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        tiles = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield laid_out(tiles, media.arrays, mx.tile(self.image_newline, tiles.shape[-1] // self._width))

    def _look(self, pixels: mx.array) -> mx.array:
        states = self.vision_tower.hidden_states(pixels)
        layers = [*self._deep, *[self._spatial] * len(self.spatial_projectors)]
        projectors = [*self.layerwise_projectors, *self.spatial_projectors]
        seen = (states[layer][:, 1:] if self._drops_first else states[layer] for layer in layers)
        return mx.concatenate([project(state) for project, state in zip(projectors, seen, strict=True)], axis=-1)

    def embed(self, ids: mx.array, slots: mx.array, features: mx.array) -> mx.array:
        """(1, L, D * 9): nothing stands at the slots, and beside the embeddings what the layers are told."""
        blank = mx.zeros((len(slots), self._width), features.dtype)
        return self._stack.beside(super().embed(ids, slots, blank), slots, features)

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        with self._stack.during(embeddings) as first:
            return super().__call__(ids, cache, first, **places)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, _unfused(weights))


def _window(config: Config, vision: ViTConfig) -> int:
    """Features along a side of what a projector's queries look at."""
    window = int(config["downsample_rate"].split("/")[1])
    if Fraction(config["downsample_rate"]) != Fraction(1, 2):
        raise CheckpointError(f"The config's downsample_rate is {config['downsample_rate']!r}; known is a half.")
    if vision.grid % window or len(config["spatial_target_layers"]) != len(CORNERS):
        raise CheckpointError("The config's windows or spatial_target_layers do not fit the tower's features.")
    for name, known in (("use_image_newline_parameter", True), ("use_spatial_sampling", True), ("spatial_stride", 2)):
        if config.get(name, known) != known:
            raise CheckpointError(f"The config's {name} is {config[name]!r}; known is {known!r}.")
    return window


def _queries(config: Config, vision: ViTConfig) -> QFormerConfig:
    said = config["qformer_config"]
    if said["use_qformer_text_input"]:
        raise CheckpointError("The qformer_config wants text beside the queries, which is not known here.")
    own = {"hidden_size": vision.hidden_size, "num_attention_heads": vision.hidden_size // QUERY_HEAD}
    return QFormerConfig(**{entry.name: said.get(entry.name) for entry in fields(QFormerConfig)} | own)


def _decoder(text: Config) -> nn.Module:
    """Granite, also where it is called by its hybrid's name but none of its layers is one."""
    text = dict(text)
    if text["model_type"] == "granitemoehybrid":
        if text.get("num_local_experts") or set(text["layer_types"]) != {"attention"}:
            raise CheckpointError("The text_config mixes kinds of layers, which is not known for this model.")
        text["intermediate_size"] = text["shared_intermediate_size"]
    if text["hidden_act"] != "silu" or text.get("position_embedding_type", "rope") != "rope":
        raise CheckpointError("The text_config asks for an activation or positions that are not known in Granite.")
    return build_decoder({**text, "model_type": "granite"})


def _unfused(weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """A hybrid's `shared_mlp` under the names of Granite's own."""
    apart = {}
    for name, tensor in weights.items():
        layer, _, part = name.partition(".shared_mlp.")
        if part.startswith("input_linear."):
            gate, up = mx.split(tensor, 2, axis=0)
            kind = part.removeprefix("input_linear.")
            apart |= {f"{layer}.mlp.gate_proj.{kind}": gate, f"{layer}.mlp.up_proj.{kind}": up}
        else:
            apart[f"{layer}.mlp.{part.replace('output_linear', 'down_proj')}" if part else name] = tensor
    return apart


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> AnyresProcessor:
    """From the checkpoint's preprocessor file; without one, tiles of the tower's size at the config's resolutions."""
    vision = ViTConfig.read(config["vision_config"])
    square = {"height": vision.image_size, "width": vision.image_size}
    usual = {"image_processor_type": "LlavaNextImageProcessor", "size": square, "crop_size": square}
    settings = read_preprocessor(folder) or usual
    recipe = AnyresRecipe.read(settings, picture_recipe(settings), config["image_grid_pinpoints"])
    slot_id = slot_of(tokenizer, AnyresProcessor.marker, config["image_token_index"])
    return AnyresProcessor(recipe, vision.image_size, vision.grid // 2, slot_id)


FAMILY = Family(
    model_types=("granite4_vision",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Granite4Vision,
    processor=read_processor,
    chat_template=TEMPLATE,
)

"""Fovea's own starter model: SmolLM2 with picture words from an EfficientNet-Lite and an adapter for pictures.

A conversation without pictures runs the bare language model, so its answers are SmolLM2's own. Knows nothing of how
its files got onto this machine.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, MediaProcessor, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.gguf_llama import read_gguf_llama
from engine.models.decoders.text import build_decoder
from engine.models.layers.switched_lora import AdapterSwitch, switch_lora
from engine.models.layers.windows import average_pool_same
from engine.models.media.letterbox import letterbox
from engine.models.projectors.semantic_grid_glyph import SemanticGridGlyphProjector
from engine.models.towers.efficientnet_lite import EfficientNetLite, TowerFeatures, conv_weight
from engine.models.towers.glyphs import GlyphRules, Glyphs, read_glyphs
from engine.models.towers.text_shape import UNUSED, TextShapeTrunk

MARKER = "<image>"
ADAPTER = "picture"

# The adapter's tensors cover these layers together: one A, and the rows of B one after the other.
_ADAPTED = {
    "self_attn.qkv": ("q_proj", "k_proj", "v_proj"),
    "self_attn.o_proj": ("o_proj",),
    "mlp.gate_up": ("gate_proj", "up_proj"),
    "mlp.down_proj": ("down_proj",),
}
_MEAN, _SCALE = 127, 128


class StarterModel(VisionLanguageModel):
    def __init__(self, config: Config) -> None:
        super().__init__()
        picture = config["vision_config"]
        self.language_model = build_decoder(config["text_config"])
        self.tower = EfficientNetLite(picture["tower"])
        self.trunk = TextShapeTrunk(_within(config["tensor_shapes"], "trunk."))
        self.projector = SemanticGridGlyphProjector(_within(config["tensor_shapes"], "projector."))
        self._rules = GlyphRules.from_config(picture)
        self._grid_side = math.isqrt(len(self.projector.grid.position))
        self._switch = AdapterSwitch()
        for layer in self.language_model.layers:
            for group, names in _ADAPTED.items():
                part = layer[group.partition(".")[0]]
                switch_lora(part, names, picture["lora"]["rank"], self._switch)

    def encode(self, media: PreparedMedia) -> mx.array:
        pixels = mx.array(media.arrays["pixels"])[None]
        seen = self.look(pixels)
        letters, grid = self.read(seen)
        glyphs = self.glyphs(letters)
        words = [
            self.projector.semantic(seen.pooled, seen.classes),
            self.projector.grid(grid, self.cell_colours(pixels)),
            self.projector.glyph(mx.array(glyphs.letters)[None], mx.array(glyphs.places)[None]),
        ]
        return mx.concatenate(words, axis=1)[0]

    def look(self, pixels: mx.array) -> TowerFeatures:
        """`pixels` (1, H, W, 3) uint8"""
        return self.tower(self.normalised(pixels))

    def normalised(self, pixels: mx.array) -> mx.array:
        return (pixels.astype(mx.float32) - _MEAN) / _SCALE

    def read(self, seen: TowerFeatures) -> tuple[mx.array, mx.array]:
        """Letter logits (1, H', W', letters + 1) and grid features (1, cells, D)."""
        return self.trunk(seen.stages[2], seen.stages[4], average_pool_same(seen.stages[6], kernel=3, stride=2))

    def glyphs(self, letters: mx.array) -> Glyphs:
        return read_glyphs(np.array(letters[0]), self._rules)

    def cell_colours(self, pixels: mx.array) -> mx.array:
        """Mean colour, 0..1, of each cell: (1, H, W, 3) -> (1, cells, 3), row by row."""
        _, height, width, channels = pixels.shape
        side = self._grid_side
        cells = (pixels.astype(mx.float32) / 255).reshape(1, side, height // side, side, width // side, channels)
        return cells.mean(axis=(2, 4)).reshape(1, side * side, channels)

    def adapter_for(self, media: tuple[PreparedMedia, ...]) -> str | None:
        return ADAPTER if media else None

    def select_adapter(self, name: str | None) -> None:
        self._switch.on = name == ADAPTER

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Drops the trunk's two training heads."""
        renamed: dict[str, mx.array] = {}
        for name, weight in weights.items():
            part, _, rest = name.partition(".")
            if part == "tower":
                renamed[name] = EfficientNetLite.sanitize(rest, weight)
            elif part == "trunk" and not rest.startswith(UNUSED):
                renamed[name] = conv_weight(weight)
            elif part == "projector":
                renamed[f"projector.{SemanticGridGlyphProjector.sanitize(rest)}"] = weight
            elif part == "layers":
                renamed.update(self._adapter_tensors(rest, weight))
            elif part != "trunk":
                renamed[name] = weight
        return renamed

    def _adapter_tensors(self, name: str, weight: mx.array) -> dict[str, mx.array]:
        """One shared tensor, such as "0.self_attn.qkv.lora_b", as those of the single layers."""
        number, _, rest = name.partition(".")
        group, _, kind = rest.rpartition(".")
        if group not in _ADAPTED:
            return {f"layers.{name}": weight}
        part = group.partition(".")[0]
        rows = [self.language_model.layers[int(number)][part][layer].weight.shape[0] for layer in _ADAPTED[group]]
        ends = np.cumsum(rows).tolist()
        pieces = mx.split(weight, ends[:-1]) if kind == "lora_b" else [weight] * len(rows)
        prefix = f"language_model.model.layers.{number}.{part}"
        return {f"{prefix}.{layer}.{kind}": piece for layer, piece in zip(_ADAPTED[group], pieces, strict=True)}


class StarterProcessor:
    marker = MARKER

    def __init__(self, config: Config, slot_id: int) -> None:
        self.slot_id = slot_id
        self._size: tuple[int, int] = tuple(config["vision_config"]["preprocess"]["size"])
        self._feature_count: int = config["vision_config"]["projector"]["image_tokens"]

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        height, width = self._size
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixels": np.asarray(letterbox(picture, width, height))},
            expansion=MARKER * self._feature_count,
            feature_count=self._feature_count,
            digest=f"{digest}:letterbox-{width}x{height}",
        )


def processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> MediaProcessor:
    return StarterProcessor(config, tokenizer.convert_tokens_to_ids(MARKER))


def open_weights(folder: Path, config: Config) -> dict[str, mx.array]:
    """The language side from its GGUF file, the picture side from its safetensors; float32, nothing computed yet.

    The picture side was trained on a language side in the dtype of its config, so that is what it is rounded to.
    """
    text = config["text_config"]
    gguf = _present(folder, config["language_weights"])
    dtype = getattr(mx, text["dtype"])
    language = read_gguf_llama(gguf, text["num_attention_heads"], text["num_key_value_heads"], dtype)
    weights = {f"language_model.{name}": weight.astype(mx.float32) for name, weight in language.items()}
    for file in config["picture_weights"]:
        try:
            tensors = mx.load(str(_present(folder, file)))
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}.", "The file is damaged; get it again.") from error
        weights.update({name: tensor.astype(mx.float32) for name, tensor in tensors.items()})
    return weights


def _present(folder: Path, name: str) -> Path:
    if not (folder / name).is_file():
        raise CheckpointError(
            f"The starter model is not complete: {name} is missing from {folder}.",
            "Run `make setup`, which downloads it.",
        )
    return folder / name


def _within(shapes: Mapping[str, list[int]], prefix: str) -> dict[str, list[int]]:
    return {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}


FAMILY = Family(
    model_types=("fovea_starter",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=StarterModel,
    processor=processor,
    open_weights=open_weights,
)

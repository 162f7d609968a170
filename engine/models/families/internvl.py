"""InternVL 2.5 (arXiv 2412.05271), 3 (2504.10479) and 3.5 (2508.18265), as transformers keeps them and as their authors
do (`internvl_chat`), whose config and tensors have other names.

InternViT looks at tiles of a picture and at the whole, or at frames of a clip; four patches become one feature, which
a Qwen or Llama reads. Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.clips.frame_sampling import MiddleOfSteps
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.question import in_parts
from engine.models.grounding.tags import boxes_between
from engine.models.names import TOWER_AND_DECODER, Prefixes, rename
from engine.models.processors.tiled import FrameClipProcessor, TiledPictureProcessor, Wording
from engine.models.projectors.pixel_shuffle import PixelShuffleMLP
from engine.models.recipes.dynamic_tiles import DynamicTileRecipe
from engine.models.recipes.preprocessor import read_clip_preprocessor, read_preprocessor, slot_of
from engine.models.towers.features import last, tile_by_tile
from engine.models.towers.intern_vit import InternViT, InternViTConfig, sanitize_intern_vit

SLOT = "<IMG_CONTEXT>"

NAMES: Prefixes = (
    ("vision_model.", "vision_tower."),
    ("mlp1.0.", "multi_modal_projector.layer_norm."),
    ("mlp1.1.", "multi_modal_projector.linear_1."),
    ("mlp1.3.", "multi_modal_projector.linear_2."),
    *TOWER_AND_DECODER,
)

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<IMG_CONTEXT>\n{% elif part['type'] == 'video' %}<video>\n"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

FRAMES = 8
"""Of a clip, where its preprocessor file does not say: as many as the authors' examples look at."""

IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}


@dataclass(frozen=True, slots=True)
class Shape:
    """What a config of either form says."""

    vision: InternViTConfig
    text: Config
    layer: int
    """The tower's hidden state that is seen; -1 for what comes out of it."""
    factor: int
    """Patches along a side of what becomes one feature."""
    hidden_act: str

    @classmethod
    def read(cls, config: Config) -> "Shape":
        chat = config["model_type"] == "internvl_chat"
        wanted = {"ps_version": "v2"} if chat else {"vision_feature_select_strategy": "default"}
        for key, value in wanted.items():
            if config.get(key) != value:
                raise CheckpointError(f"The config's {key} is {config.get(key)!r}; known is {value!r}.")
        layer = config.get("select_layer", -1) if chat else config["vision_feature_layer"]
        shape = cls(
            vision=InternViTConfig.read(config["vision_config"]),
            text=config.get("llm_config") or config["text_config"],
            layer=layer,
            factor=round(1 / config["downsample_ratio"]),
            hidden_act=config.get("projector_hidden_act", "gelu"),
        )
        if not isinstance(layer, int):
            raise CheckpointError(f"The config wants features of the layers {layer}; known is one layer.")
        if shape.factor * config["downsample_ratio"] != 1 or shape.vision.grid % shape.factor:
            raise CheckpointError(
                f"Tiles of {shape.vision.grid} x {shape.vision.grid} patches cannot be scaled by the config's "
                f"downsample_ratio, {config['downsample_ratio']}."
            )
        return shape

    @property
    def features(self) -> int:
        """Of one tile."""
        return (self.vision.grid // self.factor) ** 2


class InternVL(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        self._shape = Shape.read(config)
        width = self._shape.text["hidden_size"]
        self.vision_tower = InternViT(self._shape.vision)
        self.multi_modal_projector = PixelShuffleMLP(
            self._shape.vision.hidden_size, width, width, self._shape.factor, hidden_act=self._shape.hidden_act
        )
        self.language_model = build_decoder(self._shape.text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (tiles or frames, 3, side, side) -> (tiles * features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        features = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield features.reshape(-1, features.shape[-1])

    def _look(self, pixels: mx.array) -> mx.array:
        layer, grid = self._shape.layer, self._shape.vision.grid
        seen = self.vision_tower(pixels) if layer == -1 else self.vision_tower.hidden_states(pixels)[layer]
        return self.multi_modal_projector(seen[:, 1:].reshape(len(seen), grid, grid, -1))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_intern_vit(rename(weights, NAMES), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> TiledPictureProcessor:
    """From the checkpoint's preprocessor file or, in the authors' form, its config; without a file, up to twelve tiles
    as large as the tower's pictures."""
    shape, settings = Shape.read(config), read_preprocessor(folder)
    recipe = _authors_recipe(settings, config, shape) if _is_chat(config) else _recipe(settings, shape, split=True)
    return TiledPictureProcessor(_wording(config, tokenizer, shape), recipe.for_tower(shape.vision.image_size))


def read_clip_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> FrameClipProcessor:
    """From the checkpoint's preprocessor file for clips, else from that for pictures; the authors' form takes frames as
    pictures."""
    shape = Shape.read(config)
    settings = read_clip_preprocessor(folder) or ({} if _is_chat(config) else read_preprocessor(folder))
    if settings.get("initial_shift", True) is not True or settings.get("do_center_crop"):
        raise CheckpointError("The clips' preprocessor file asks for initial_shift or do_center_crop, not known here.")
    number = {} if "fps" in settings else {"num_frames": FRAMES}
    choose = MiddleOfSteps.read({"min_frames": 1} | number | settings, group=1)
    recipe = _recipe(settings, shape, split=False)
    if _is_chat(config):
        recipe = _authors_recipe(read_preprocessor(folder), config, shape)
    return FrameClipProcessor(_wording(config, tokenizer, shape), recipe.for_tower(shape.vision.image_size), choose)


def _is_chat(config: Config) -> bool:
    """Whether the config is of the authors' form."""
    return config["model_type"] == "internvl_chat"


def _recipe(settings: Config, shape: Shape, *, split: bool) -> DynamicTileRecipe:
    side = shape.vision.image_size
    return DynamicTileRecipe.read(settings or IMAGENET | {"size": {"height": side, "width": side}}, split=split)


def _authors_recipe(settings: Config, config: Config, shape: Shape) -> DynamicTileRecipe:
    """The preprocessor file knows nothing of tiles, and is only asked for mean and deviation."""
    if config.get("pad2square"):
        raise CheckpointError("The config wants pictures padded to squares (pad2square), which is not known here.")
    side = config.get("force_image_size") or shape.vision.image_size
    said = {
        "size": {"height": side, "width": side},
        "min_patches": config.get("min_dynamic_patch", 1),
        "max_patches": config.get("max_dynamic_patch", 6),
    }
    values = {key: settings.get(key, value) for key, value in IMAGENET.items()}
    recipe = DynamicTileRecipe.read(values | said, split=config.get("dynamic_image_size", False))
    return replace(recipe, thumbnail=config.get("use_thumbnail", False))


def _wording(config: Config, tokenizer: TokenizerLike, shape: Shape) -> Wording:
    """The authors' form does not name the slot in its config, and its templates take text alone: what stands behind a
    picture in it belongs to the picture."""
    found = tokenizer.encode(SLOT, add_special_tokens=False)
    if len(found) != 1:
        raise CheckpointError(f"The tokenizer does not know {SLOT}.", "Get its files again.")
    return Wording(
        slot=SLOT,
        slot_id=slot_of(tokenizer, SLOT, config.get("image_token_id", found[0])),
        features=shape.features,
        begin="<img>",
        end="</img>",
        behind="\n" if _is_chat(config) else "",
    )


FAMILY = Family(
    model_types=("internvl", "internvl_chat"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=InternVL,
    processor=read_processor,
    clips=read_clip_processor,
    chat_template=TEMPLATE,
    locate=boxes_between(("<ref>", "</ref>"), ("<box>", "</box>"), in_parts(1000)),
)

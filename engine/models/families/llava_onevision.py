"""LLaVA-OneVision (arXiv 2408.03326): more tiles, scaled down once they are too many features, and clips.

Of several pictures each is tiled, as the reference does with a plain list. A clip's frames are looked at one by one,
and two by two features of each become one. Knows nothing of the other families.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
from PIL.Image import Resampling

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike
from engine.models.clips.frame_sampling import EvenParts
from engine.models.joined.anyres import AnyresModel, laid_out_shape, read_anyres, square
from engine.models.layers.bilinear import resized
from engine.models.processors.frames_in_a_row import FramesInARow
from engine.models.recipes.anyres import AnyresProcessor
from engine.models.recipes.pictures import Values
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD, read_clip_preprocessor, slot_of
from engine.models.towers.features import tile_by_tile

CLIP = "<video>"

FRAMES = 32
"""Of a clip whose checkpoint does not say, as the model was trained on them."""


class LlavaOnevision(AnyresModel):
    def __init__(self, config: Config):
        super().__init__(config)
        self._grid = laid_out_shape(config).grid

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        """Of a clip `pixel_values` (frames, 3, side, side)."""
        if media.modality is Modality.IMAGE:
            yield from super().encode_in_pieces(media)
            return
        frames = yield from tile_by_tile(self._look_at_frame, mx.array(media.arrays["pixel_values"]))
        features = frames.reshape(-1, frames.shape[-1])
        yield mx.concatenate([features, self.image_newline[None].astype(features.dtype)])

    def _look_at_frame(self, pixels: mx.array) -> mx.array:
        """(1, 3, side, side) -> (1, features, D)"""
        features = self._look(pixels)[0].reshape(self._grid, self._grid, -1)
        side = pooled(self._grid)
        return resized(features, side, side).reshape(1, side * side, -1)


def pooled(grid: int) -> int:
    """Features on a side of a frame."""
    return -(-grid // 2)


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> AnyresProcessor:
    """From the checkpoint's preprocessor file. Without one, tiles of the tower's size at the config's resolutions."""
    vision = laid_out_shape(config)
    standard = {"image_processor_type": "LlavaOnevisionImageProcessor", "size": square(vision.image_size)}
    recipe = replace(read_anyres(folder, config, standard), most_tiles=most_tiles(config))
    slot_id = slot_of(tokenizer, AnyresProcessor.marker, config["image_token_index"])
    return AnyresProcessor(recipe, vision.image_size, vision.grid, slot_id)


def read_clips(folder: Path, config: Config, tokenizer: TokenizerLike) -> FramesInARow:
    """From what the checkpoint says of clips; what it does not say is as in transformers' class, at the tower's size.
    Raises `CheckpointError` for frames that the tower does not take."""
    vision, settings = laid_out_shape(config), read_clip_preprocessor(folder)
    size = settings.get("size", square(vision.image_size))
    if (size.get("height"), size.get("width")) != (vision.image_size, vision.image_size):
        raise CheckpointError(
            f"The preprocessor file makes frames of the size {size}, the tower takes {vision.image_size}."
        )
    return FramesInARow(
        marker=CLIP,
        slot_id=slot_of(tokenizer, CLIP, config["video_token_index"]),
        size=(vision.image_size, vision.image_size),
        resample=Resampling(settings.get("resample", Resampling.BICUBIC)),
        values=Values.read(settings, CLIP_MEAN, CLIP_STD),
        features=pooled(vision.grid) ** 2,
        choose=EvenParts.read({"num_frames": FRAMES, "min_frames": 1} | settings, 1),
    )


def most_tiles(config: Config) -> int | None:
    """How many tiles' features a picture may have before they are scaled down; `None` for as many as there are."""
    said = config.get("vision_aspect_ratio")
    if said is None:
        return None
    if not (number := said.removeprefix("anyres_max_")).isdecimal() or number == said:
        raise CheckpointError(f"The config's vision_aspect_ratio is {said!r}; known is anyres_max_ and a number.")
    return int(number)


FAMILY = Family(
    model_types=("llava_onevision",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=LlavaOnevision,
    processor=read_processor,
    clips=read_clips,
)

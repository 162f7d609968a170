"""Florence-2 (arXiv 2311.06242): DaViT and BART, which reads picture and task once and writes the answer.

A conversation is one task about one picture: a name such as `<OD>` or `<CAPTION>`, alone or before what it is about, or
a question as the model was trained on it. Places in answers are tokens such as `<loc_52>`, in thousandths of the
picture's width and height. Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from engine.api.errors import CheckpointError, RequestError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, VisionLanguageModel
from engine.models.decoders.bart import Bart
from engine.models.decoders.text import sanitize_decoder
from engine.models.grounding.loc_tokens import florence_places
from engine.models.names import Prefixes, rename
from engine.models.processors.tasks import MARKER, TEMPLATE, GrowingTokenizer, add_answer_tokens, slot_token
from engine.models.processors.whole import WholePictureProcessor
from engine.models.projectors.row_column import RowColumnProjector
from engine.models.recipes.preprocessor import picture_recipe, read_preprocessor
from engine.models.towers.davit import DaViT, sanitize_davit, seen_side
from engine.models.towers.features import last

NAMES: Prefixes = (
    ("model.language_model.shared.", "language_model.model.embed_tokens."),
    ("language_model.model.shared.", "language_model.model.embed_tokens."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
    ("image_pos_embed.", "multi_modal_projector.image_position_embed."),
    ("image_proj_norm.", "multi_modal_projector.image_proj_norm."),
    ("visual_temporal_embed.", "multi_modal_projector.visual_temporal_embed."),
)

IMAGENET = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
SIDE = 768
"""Of a picture in the published preprocessor files."""


class Florence2(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        vision, text = config["vision_config"], config["text_config"]
        if vision["projection_dim"] != text["d_model"]:
            raise CheckpointError("The vision_config's projection_dim is not the width of the text model.")
        self._vision, self._most = vision, text["max_position_embeddings"]
        # With these every answer begins; the second as generation settings force it.
        begin = (text["decoder_start_token_id"], text.get("forced_bos_token_id", text["bos_token_id"]))
        self._begin = [token for token in begin if token is not None]
        self.vision_tower = DaViT(vision)
        self.multi_modal_projector = RowColumnProjector(
            vision["embed_dim"][-1], text["d_model"], vision["max_position_embeddings"]
        )
        self.language_model = Bart(text)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (1, 3, H, W) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        for seen in self.vision_tower.steps(mx.array(media.arrays["pixel_values"])):
            mx.eval(seen)
            yield None
        yield self.multi_modal_projector(seen[0])

    def embed_tokens(self, ids: mx.array) -> mx.array:
        return self.language_model.embedded(ids)

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        """A prompt, which fresh caches are told by, is read; then come the tokens that begin an answer, whatever the
        prompt's last ones are, and the logits (B, L, V) are theirs."""
        cache = self.make_cache() if cache is None else cache
        if cache[0].read is None:
            self.language_model.read(self.embed_tokens(ids) if embeddings is None else embeddings, cache)
        written = cache[0].offset
        if isinstance(written, int) and written < len(self._begin):
            ids = mx.array([self._begin[written:]])
        return self.language_model(ids, cache)

    def prefill_stops(self, token_ids: np.ndarray, step: int) -> list[int]:
        """A prompt is read at once. Raises `RequestError` for one that is longer than the model reads."""
        if len(token_ids) > self._most:
            raise RequestError(
                f"The prompt has {len(token_ids)} tokens with its picture, the model reads {self._most}.",
                "Ask shorter.",
            )
        return [len(token_ids)]

    def make_cache(self, max_kv_size: int | None = None) -> list[Any]:
        """No window is taken, whatever `max_kv_size` says: answers are short."""
        return self.language_model.make_cache()

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Drops the table of places in time, which follows from its shape."""
        weights = sanitize_davit(rename(weights, NAMES), "vision_tower.", self._vision)
        weights.pop("multi_modal_projector.visual_temporal_embed.pos_idx_to_embed", None)
        if (projection := weights.pop("image_projection", None)) is not None:
            weights["multi_modal_projector.image_projection.weight"] = projection.T
        return sanitize_decoder(self.language_model, weights)


def read_processor(folder: Path, config: Config, tokenizer: GrowingTokenizer) -> WholePictureProcessor:
    """From the checkpoint's preprocessor file; without one, as in the published ones. Gives the tokenizer the tokens of
    answers where it lacks them. Raises `CheckpointError` when file and tower do not fit together."""
    add_answer_tokens(tokenizer)
    settings = {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False} | (
        read_preprocessor(folder) or IMAGENET | {"size": {"height": SIDE, "width": SIDE}}
    )
    recipe = picture_recipe(settings)
    side = recipe.crop[0] if recipe.crop else (recipe.size or {}).get("height", SIDE)
    count = 1 + seen_side(config["vision_config"], side) ** 2
    if settings.get("image_seq_length", count) != count:
        raise CheckpointError(
            f"The preprocessor file counts {settings['image_seq_length']} features a picture, the tower gives {count}."
        )
    if count - 1 > config["vision_config"]["max_position_embeddings"] ** 2:
        raise CheckpointError(f"The preprocessor file makes pictures of {side} pixels, too large for the tower.")
    slot = slot_token(tokenizer, config["image_token_id"])
    return WholePictureProcessor(MARKER, config["image_token_id"], recipe, side, slot * count, count)


FAMILY = Family(
    model_types=("florence2",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Florence2,
    processor=read_processor,
    most_pictures=1,
    chat_template=TEMPLATE,
    locate=florence_places,
)

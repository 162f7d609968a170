"""SigLIP, four patches gated into one feature, and a Cohere decoder: what Aya Vision and Command A Vision share.

Knows nothing of prompts and preprocessor files.
"""

from collections.abc import Iterator

import mlx.core as mx

from engine.api.errors import CheckpointError
from engine.models.base import Config, PreparedMedia, VisionLanguageModel
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import TOWER_AND_DECODER, rename
from engine.models.projectors.pixel_shuffle import PixelShuffleGate
from engine.models.towers.features import build_tower, last, tile_by_tile
from engine.models.towers.vit import ViTConfig, sanitize_tower

SLOT = "<|IMG_PATCH|>"
BEGIN, END = "<|START_OF_IMG|>", "<|END_OF_IMG|>"


class GatedTiles(VisionLanguageModel):
    def __init__(self, config: Config, *, norm_eps: float | None):
        """`norm_eps` of the norm before the gated layer, `None` without one."""
        super().__init__()
        self._grid = ViTConfig.read(config["vision_config"]).grid
        width = config["text_config"]["hidden_size"]
        self.vision_tower = build_tower(config["vision_config"])
        self.multi_modal_projector = PixelShuffleGate(
            config["vision_config"]["hidden_size"],
            config.get("alignment_intermediate_size") or width,
            width,
            config["downsample_factor"],
            norm_eps=norm_eps,
        )
        self.language_model = build_decoder(config["text_config"])
        # transformers 5 leaves Cohere's own scaling of the logits out inside these models; so the numbers are its.
        self.language_model.model.args.logit_scale = 1.0

    def see(self, pixels: mx.array) -> mx.array:
        """(N, 3, side, side) -> what the projector is given (N, patches, D)."""
        return self.vision_tower(pixels)

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values` (tiles, 3, side, side) -> (tiles * features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        features = yield from tile_by_tile(self._look, mx.array(media.arrays["pixel_values"]))
        yield features.reshape(-1, features.shape[-1])

    def _look(self, pixels: mx.array) -> mx.array:
        return self.multi_modal_projector(self.see(pixels).reshape(len(pixels), self._grid, self._grid, -1))

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_tower(rename(weights, TOWER_AND_DECODER), "vision_tower.")
        return sanitize_decoder(self.language_model, weights)


def features_of_a_tile(config: Config, size: tuple[int, int]) -> int:
    """Raises `CheckpointError` for tiles of `size` that tower and projector cannot take."""
    vision, factor = ViTConfig.read(config["vision_config"]), config["downsample_factor"]
    if size != (vision.image_size, vision.image_size):
        raise CheckpointError(
            f"The preprocessor file makes tiles of {size[1]} x {size[0]} pixels, "
            f"the tower takes {vision.image_size} x {vision.image_size}."
        )
    if vision.grid % factor:
        raise CheckpointError(
            f"Tiles of {vision.grid} x {vision.grid} patches cannot be put together {factor} x {factor}."
        )
    return (vision.grid // factor) ** 2


def template(marker: str) -> str:
    """For checkpoints without a chat template; `marker` stands for a picture."""
    return (
        "{{ bos_token }}{% for message in messages %}<|START_OF_TURN_TOKEN|>"
        "{% if message['role'] == 'user' %}<|USER_TOKEN|>{% elif message['role'] == 'system' %}<|SYSTEM_TOKEN|>"
        "{% else %}<|CHATBOT_TOKEN|>{% endif %}"
        "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}" + marker + "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
        "<|END_OF_TURN_TOKEN|>{% endfor %}"
        "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}"
    )

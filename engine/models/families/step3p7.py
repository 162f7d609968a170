"""Step 3.7: a picture whole and in windows, each seen at its own size, and a Step 3.5 of many experts that reads them.

Knows nothing of the other families.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, PreparedMedia, TokenizerLike, VisionLanguageModel
from engine.models.decoders.head import head_from_embeddings
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.names import Prefixes, rename
from engine.models.recipes.pictures import fingerprint
from engine.models.recipes.preprocessor import read_preprocessor, slot_of
from engine.models.recipes.window_crops import WindowRecipe
from engine.models.towers.features import last
from engine.models.towers.step_vit import STRIDE, build_step_vit, sanitize_step_vit

NAMES: Prefixes = (
    ("model.vision_model.", "vision_model."),
    ("model.vit_large_projector.", "vit_large_projector."),
    ("model.language_model.", "language_model.model."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

KNOWN: dict[str, Any] = {
    "attention_bias": False,
    "mlp_bias": False,
    "use_head_wise_attn_gate": True,
    "use_qk_norm": True,
    "use_moe_router_bias": True,
    "moe_router_activation": "sigmoid",
    "norm_expert_weight": True,
    "zero_centered": True,
}
"""What a text_config may say of parts that mlx-lm's module has in one form only."""

FULL, SLIDING = "full_attention", "sliding_attention"

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<im_patch>{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Step3p7(VisionLanguageModel):
    def __init__(self, config: Config):
        super().__init__()
        text, vision = config["text_config"], config["vision_config"]
        if config.get("understand_projector_stride", 2) != 2:
            raise CheckpointError("The config's understand_projector_stride is not 2, which is all that is known.")
        self.vision_model = build_step_vit(vision)
        self.vit_large_projector = nn.Linear(
            STRIDE * vision["hidden_size"], text["hidden_size"], bias=config["projector_bias"]
        )
        self.language_model = _decoder(text)
        self._tied = config["tie_word_embeddings"]

    def encode(self, media: PreparedMedia) -> mx.array:
        """`pixel_values_local` (windows, 3, h, w), `pixel_values` (1, 3, H, W) -> (features, D)."""
        return last(self.encode_in_pieces(media))

    def encode_in_pieces(self, media: PreparedMedia) -> Iterator[mx.array | None]:
        seen = []
        for tile in media.arrays["pixel_values_local"]:
            seen.append(self._look(tile[None]))
            mx.eval(seen[-1])
            yield None
        yield mx.concatenate([*seen, self._look(media.arrays["pixel_values"])])

    def _look(self, pixels: np.ndarray) -> mx.array:
        return self.vit_large_projector(self.vision_model(mx.array(pixels)))[0]

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """mlx-lm's part drops the layers behind the last, which only guess several tokens at once."""
        weights = sanitize_step_vit(rename(weights, NAMES), "vision_model.")
        if self._tied:
            weights = head_from_embeddings(weights)
        return sanitize_decoder(self.language_model, weights)


def _decoder(text: Config) -> nn.Module:
    for name, known in KNOWN.items():
        if text.get(name, known) != known:
            raise CheckpointError(f"The text_config's {name} is {text[name]!r}; known is {known!r}.")
    count, rotary = text["num_hidden_layers"], text["rope_parameters"]
    kinds = text["layer_types"][:count]
    experts = [number for number, kind in enumerate(text["mlp_layer_types"][:count]) if kind == "sparse"]
    if not experts or text["query_pre_attn_scalar"] != text["head_dim"] or not all(text.get("use_rope_layers") or [1]):
        raise CheckpointError("The text_config has no experts, or attention of a kind that is not known in Step 3.5.")
    if rotary.get(SLIDING, {}).get("rope_type", "default") != "default":
        raise CheckpointError("The text_config scales the positions of layers with a window, which is not known here.")
    full = rotary.get(FULL, {})
    sliding = {
        "num_attention_heads": text["num_sliding_attention_heads"],
        "num_attention_groups": text["num_key_value_heads"],
    }
    return build_decoder(
        {
            **text,
            "model_type": "step3p5",
            "num_attention_groups": text["num_key_value_heads"],
            "attention_other_setting": sliding,
            "layer_types": kinds,
            "rope_theta": [rotary[kind]["rope_theta"] for kind in kinds],
            "partial_rotary_factors": [rotary[kind].get("partial_rotary_factor", 1.0) for kind in kinds],
            "rope_scaling": full if full.get("rope_type", "default") != "default" else None,
            "yarn_only_types": [FULL],
            "moe_layers_enum": ",".join(map(str, experts)),
            "moe_num_experts": text["n_routed_experts"],
            "moe_top_k": text["num_experts_per_tok"],
            "norm_expert_weight": True,
        }
    )


class Step3p7Processor:
    """Windows of a picture, a mark behind each row of them but the last, and the whole."""

    marker = "<im_patch>"

    def __init__(self, recipe: WindowRecipe, patch: int, slot_id: int):
        self.slot_id = slot_id
        self._recipe = recipe
        self._stride = STRIDE * patch

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        whole, windows, (rows, columns) = self._recipe(picture)
        of_whole, of_window = ((side // self._stride) ** 2 for side in (self._recipe.whole, self._recipe.window))
        row = f"<patch_start>{self.marker * of_window}<patch_end>" * columns
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": whole, "pixel_values_local": windows},
            expansion="<patch_newline>".join([row] * rows) + f"<im_start>{self.marker * of_whole}<im_end>",
            feature_count=rows * columns * of_window + of_whole,
            digest=fingerprint(digest, self._recipe),
        )


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> Step3p7Processor:
    """From the checkpoint's preprocessor file; what it does not say is as transformers' class has it."""
    recipe, patch = WindowRecipe.read(read_preprocessor(folder)), config["vision_config"]["patch_size"]
    if any(side % (STRIDE * patch) for side in (recipe.whole, recipe.window)):
        raise CheckpointError(
            f"The preprocessor file makes pictures of {recipe.whole} and {recipe.window} pixels on a side; "
            f"the tower takes multiples of {STRIDE * patch}."
        )
    return Step3p7Processor(recipe, patch, slot_of(tokenizer, Step3p7Processor.marker, config["image_token_id"]))


FAMILY = Family(
    model_types=("step3p7",),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    build=Step3p7,
    processor=read_processor,
    chat_template=TEMPLATE,
)

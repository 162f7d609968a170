"""GLM-4.1V, GLM-4.5V and GLM-4.6V (arXiv 2507.01006): pictures at their own shape, a GLM-4 that knows rows and columns.

The large ones have experts in their decoder. Knows nothing of the other families.
"""

from functools import partial
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family, TokenizerLike
from engine.models.clips.clip_patches import ClipPatchRecipe
from engine.models.clips.timed_sampling import AtRate, ByLength
from engine.models.decoders.experts import unpack_experts
from engine.models.decoders.head import head_from_embeddings
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.question import in_parts
from engine.models.grounding.tags import boxes_between
from engine.models.joined.grid import GridModel
from engine.models.layers.mrope import tell_axes_apart
from engine.models.names import Prefixes, rename
from engine.models.processors.patched import PatchedClipProcessor, PatchedPictureProcessor, check_cut, tower_cut
from engine.models.recipes.preprocessor import CLIP_MEAN, CLIP_STD, read_clip_preprocessor, read_preprocessor, slot_of
from engine.models.recipes.volume import VolumeRecipe
from engine.models.towers.glm_vit import GlmViT, sanitize_glm_vit
from engine.models.towers.qwen_vit import Biases, QwenViTConfig, patch_shape

NAMES: Prefixes = (
    ("model.language_model.", "language_model.model."),
    ("model.visual.", "vision_tower."),
    ("visual.", "vision_tower."),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)

SECTIONS = (8, 12, 12)
"""Of a config that names none, as transformers takes it."""

PICTURE, CLIP = "<|image|>", "<|video|>"

OCR = "glm_ocr"

NEWER = ("glm46v", OCR)
"""How names of GLM-4.6V's processors and of model types that have them begin."""

TEMPLATE = (
    "[gMASK]<sop>{% for message in messages %}<|{{ message['role'] }}|>\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|begin_of_image|><|image|><|end_of_image|>"
    "{% elif part['type'] == 'video' %}<|begin_of_video|><|video|><|end_of_video|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)


class Glm4V(GridModel):
    steps_apart = True

    def __init__(self, config: Config):
        super().__init__()
        text = config["text_config"]
        self.vision_tower = _tower(config["model_type"], config["vision_config"])
        self.language_model = _decoder(config["model_type"], text)
        self._tied = config["tie_word_embeddings"]
        self._unused = (
            f"language_model.model.layers.{text['num_hidden_layers']}." if config["model_type"] == OCR else ()
        )
        self._step = tell_axes_apart(self.language_model, text, SECTIONS)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_glm_vit(rename(weights, NAMES), "vision_tower.", self.vision_tower.config)
        if self._tied:
            weights = head_from_embeddings(weights)
        # GLM-OCR's layer behind the last only guesses several tokens at once; the reference leaves it out too.
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(self._unused)}
        return sanitize_decoder(self.language_model, unpack_experts(weights, self.language_model.args.hidden_size))


def _decoder(model_type: str, text: Config) -> nn.Module:
    if text["hidden_act"] != "silu":
        raise CheckpointError(f"The text_config asks for the activation {text['hidden_act']!r}, not known in GLM-4.")
    narrow = text["hidden_size"] // text["num_attention_heads"]
    shape = {
        "head_dim": text.get("head_dim") or narrow,
        "partial_rotary_factor": text["rope_parameters"].get("partial_rotary_factor", 1.0),
    }
    if model_type == "glm4v_moe":
        return build_decoder({**text, **shape, "model_type": "glm4_moe", "use_qk_norm": False})
    if model_type != OCR and shape["head_dim"] != narrow:
        raise CheckpointError(f"The text_config's heads have {shape['head_dim']} channels; known are {narrow}.")
    return build_decoder({**text, **shape, "model_type": "glm4", "attention_bias": model_type != OCR})


def _tower(model_type: str, vision: Config) -> GlmViT:
    ocr, bias, width = model_type == OCR, vision["attention_bias"], vision["out_hidden_size"]
    config = QwenViTConfig(
        depth=vision["depth"],
        hidden_size=vision["hidden_size"],
        intermediate_size=vision["intermediate_size"] if ocr else width,
        out_size=width,
        heads=vision["num_heads"],
        hidden_act=vision["hidden_act"],
        patch_shape=patch_shape(vision),
        merge=vision["spatial_merge_size"],
        rope_theta=vision["rope_theta"],
        eps=vision["rms_norm_eps"],
        biases=Biases(patch=True, qkv=bias, out=ocr and bias, mlp=ocr and bias),
        head_norms=ocr,
    )
    if ocr:
        return GlmViT(config, width * vision["in_channels"], positions=None)
    return GlmViT(config, vision["intermediate_size"], vision["image_size"] // vision["patch_size"])


def read_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedPictureProcessor:
    """From the checkpoint's preprocessor file; what it does not say is as in GLM-4.1V's own, with the tower's patches.
    Raises `CheckpointError` when its patches are not those of the tower."""
    cut = zip(("temporal_patch_size", "patch_size", "merge_size"), tower_cut(config["vision_config"]), strict=True)
    recipe = VolumeRecipe.of({**dict(cut), **read_preprocessor(folder)})
    check_cut(recipe, config["vision_config"])
    return PatchedPictureProcessor(PICTURE, slot_of(tokenizer, PICTURE, config["image_token_id"]), recipe)


def read_clip_processor(folder: Path, config: Config, tokenizer: TokenizerLike) -> PatchedClipProcessor:
    """From the checkpoint's preprocessor file for clips; what it does not say is as in GLM-4.1V's own."""
    settings = read_clip_preprocessor(folder)
    cut, bounds = tower_cut(config["vision_config"]), (112 * 112, 28 * 28 * 2 * 30000)
    recipe = ClipPatchRecipe.read(
        settings, cut=cut, bounds=bounds, mean=CLIP_MEAN, std=CLIP_STD, together=True, max_tokens=None
    )
    check_cut(recipe, config["vision_config"])
    # Checkpoints of one model type are of either generation, and only their processors' names say so.
    names = [settings.get("video_processor_type"), read_preprocessor(folder).get("image_processor_type")]
    name = next((name for name in names if name), config["model_type"])
    newer = name.lower().startswith(NEWER)
    choose = ByLength(recipe.frames) if newer else AtRate.read(settings)
    wording = partial(_frames, newer=newer)
    return PatchedClipProcessor(CLIP, slot_of(tokenizer, PICTURE, config["image_token_id"]), recipe, choose, wording)


def _frames(seconds: np.ndarray, features: int, *, newer: bool) -> str:
    """A frame and when it is shown, and so on; GLM-4.1V leaves out what is less than a second."""
    # The reference takes every second frame's time, however many frames make a step.
    shown = seconds.reshape(-1)[::2][: len(seconds)]
    shown = np.pad(shown, (0, len(seconds) - len(shown)), mode="edge")
    frame = f"<|begin_of_image|>{PICTURE * features}<|end_of_image|>"
    return "".join(frame + (f"{time:.1f} seconds" if newer else f"{int(time)}") for time in shown)


FAMILY = Family(
    model_types=("glm4v", "glm46v", "glm4v_moe", OCR),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Glm4V,
    processor=read_processor,
    clips=read_clip_processor,
    chat_template=TEMPLATE,
    locate=boxes_between(("", ""), ("<|begin_of_box|>", "<|end_of_box|>"), in_parts(1000)),
)

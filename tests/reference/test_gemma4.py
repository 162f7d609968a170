"""Gemma 4 with pictures and clips against transformers."""

from dataclasses import replace

import numpy as np
import torch
from transformers import (
    Gemma4Config,
    Gemma4ForConditionalGeneration,
    Gemma4UnifiedConfig,
    Gemma4UnifiedForConditionalGeneration,
)
from transformers.models.gemma4.feature_extraction_gemma4 import Gemma4AudioFeatureExtractor
from transformers.models.gemma4.image_processing_pil_gemma4 import (
    Gemma4ImageProcessorPil,
    get_aspect_ratio_preserving_size,
)
from transformers.models.gemma4.processing_gemma4 import Gemma4Processor
from transformers.models.gemma4.video_processing_gemma4 import Gemma4VideoProcessor
from transformers.models.gemma4_unified.image_processing_gemma4_unified import Gemma4UnifiedImageProcessor
from transformers.models.gemma4_unified.processing_gemma4_unified import Gemma4UnifiedProcessor
from transformers.models.gemma4_unified.video_processing_gemma4_unified import Gemma4UnifiedVideoProcessor
from transformers.video_utils import VideoMetadata, default_sample_indices_fn

from engine.models.clips.frame_sampling import EvenParts
from engine.models.clips.plan import ClipWish
from engine.models.recipes.patch_budget import SUPPORTED, PatchBudget
from tests.reference import tiny
from tests.reference.clip_parity import CLIPS, ClipParity
from tests.reference.clips import facts_of
from tests.reference.parity import Case, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import BEFORE, Spelling

PICTURE, CLIP = "<|image|>", "<|video|>"
SPECIALS = (PICTURE, CLIP, "<|image>", "<image|>", "<|audio|>", "<|audio>", "<audio|>", "<pad>")

FULL, SLIDING = "full_attention", "sliding_attention"
TEXT = {key: value for key, value in tiny.TEXT.items() if key != "rope_parameters"} | {
    "model_type": "gemma4_text",
    "num_hidden_layers": 4,
    "layer_types": [SLIDING, FULL, SLIDING, FULL],
    "sliding_window": 16,
    "head_dim": 6,
    "global_head_dim": 8,
    "hidden_size_per_layer_input": 8,
    "num_kv_shared_layers": 2,
    "use_double_wide_mlp": True,
    "final_logit_softcapping": 20.0,
    "pad_token_id": 3,
}
VISION = {
    "model_type": "gemma4_vision",
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "patch_size": 4,
    "pooling_kernel_size": 2,
    "position_embedding_size": 150,
}


TOKENS = ("image_token", "video_token", "boi_token", "eoi_token", "audio_token", "boa_token", "eoa_token", "pad_token")


def build(tokenizer, model_class, config_class, text_config, vision_config, **changes):
    ids = dict(zip((f"{name}_id" for name in TOKENS[:6]), tokenizer.convert_tokens_to_ids(SPECIALS), strict=False))
    config = config_class(
        text_config={"vocab_size": len(tokenizer)} | text_config,
        vision_config=vision_config,
        audio_config=None,
        **ids | changes,
    )
    model = model_class(config)
    for name, buffer in model.named_buffers():
        _fill(name, buffer)
    return model


def gemma4(text_config=None, vision_config=None, **changes):
    def model(tokenizer):
        text = TEXT | {"vocab_size_per_layer_input": len(tokenizer)} | (text_config or {})
        vision = VISION | (vision_config or {})
        return build(tokenizer, Gemma4ForConditionalGeneration, Gemma4Config, text, vision, **changes)

    return model


class UnifiedAsItGenerates(Gemma4UnifiedForConditionalGeneration):
    """Called by itself the reference lets a frame see itself in all layers; when it generates, in those with a window
    only, as Google's own code does. So the numbers are those of its generation."""

    def forward(self, input_ids, attention_mask=None, mm_token_type_ids=None, **rest):
        shape = self.get_input_embeddings()(input_ids)
        masks = self.create_masks_for_generate(self.config, shape, attention_mask, None, None, mm_token_type_ids)
        return super().forward(input_ids, attention_mask=masks, **rest)


def unified(tokenizer):
    text = {"num_kv_shared_layers": 0, "use_double_wide_mlp": False, "use_bidirectional_attention": "vision"}
    vision = {"patch_size": 4, "pooling_kernel_size": 2, "mm_embed_dim": 40, "mm_posemb_size": 80}
    text = {key: value for key, value in TEXT.items() if key != "hidden_size_per_layer_input"} | text
    return build(
        tokenizer,
        UnifiedAsItGenerates,
        Gemma4UnifiedConfig,
        text | {"model_type": "gemma4_unified_text", "attention_k_eq_v": True, "num_global_key_value_heads": 1},
        vision | {"model_type": "gemma4_unified_vision", "output_proj_dims": 40},
    )


def _fill(name, buffer):
    """Whatever a checkpoint has besides parameters, so that it matters."""
    if name.endswith("layer_scalar"):
        buffer.fill_(0.7)
    elif name.endswith(("_min", "_max")):
        buffer.fill_(0.8 if name.endswith("max") else -0.7)
    elif name.endswith(("std_bias", "std_scale")):
        buffer.copy_(torch.linspace(0.5, 1.5, len(buffer)))


def processor(whole, pictures, clips):
    def made(tokenizer):
        for name, token in zip(TOKENS, SPECIALS, strict=True):
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        cut = {"max_soft_tokens": 70, "patch_size": 4, "pooling_kernel_size": 2}
        return whole(Gemma4AudioFeatureExtractor(), pictures(**cut), tokenizer, clips(num_frames=2, **cut))

    return made


BASE = Case(
    "gemma4",
    gemma4(vision_config={"use_clipped_linears": True}),
    SPECIALS,
    processor(Gemma4Processor, Gemma4ImageProcessorPil, Gemma4VideoProcessor),
    (Spelling("transformers-5", ()), Spelling("mlx-community", BEFORE[1:])),
    one=f"user\n{PICTURE}What is it?\nmodel\n",
    two=f"user\n{PICTURE}And {PICTURE}this?\nmodel\n",
)


# As checkpoints have it, mlx-community's and the others.
PATCH_WORDS = (
    ("model.embed_vision.multimodal_embedder.", "embed_vision."),
    ("model.embed_vision.", "vision_embedder."),
    *BEFORE[1:],
)


class FramedParity(VisionParity):
    def pixels_of(self, inputs):
        """Without what the reference fills up a batch with."""
        return inputs["pixel_values"][(inputs["image_position_ids"] >= 0).all(-1)].numpy()


class FramedClipParity(FramedParity, ClipParity):
    test_greedy_tokens_after_a_clip = None
    clip = f"user\n{CLIP}What happens?\nmodel\n"
    both = f"user\n{PICTURE}And {CLIP} and {PICTURE}this?\nmodel\n"

    def clip_pixels_of(self, inputs):
        return inputs["pixel_values_videos"][(inputs["video_position_ids"] >= 0).all(-1)].numpy()

    def test_a_clip_in_pieces(self, clip_pair):
        _, (media,) = clip_pair.ours.prompt(self.clip, [CLIPS["even"]])
        *pauses, features = clip_pair.ours.model.encode_in_pieces(media)
        assert len(pauses) == len(media.arrays["pixel_values"]) == 2
        assert features.shape[0] == media.feature_count


class TestGemma4(FramedParity):
    """Embeddings for each layer, layers that share keys and values, layers with bounds."""

    case = BASE


class TestLarge(RunnerParity, FramedClipParity):
    """Experts, keys that are values, a window shorter than a frame whose features see each other, a head of its own."""

    case = replace(
        BASE,
        name="gemma4, large",
        model=gemma4(
            {
                "hidden_size_per_layer_input": 0,
                "num_kv_shared_layers": 0,
                "num_key_value_heads": 4,
                "num_global_key_value_heads": 2,
                "attention_k_eq_v": True,
                "use_bidirectional_attention": "vision",
                "final_logit_softcapping": None,
                "enable_moe_block": True,
                "num_experts": 5,
                "top_k_experts": 2,
                "moe_intermediate_size": 24,
            },
            {"standardize": True},
            tie_word_embeddings=False,
        ),
        spellings=(),
    )


class TestUnified(FramedClipParity):
    """Without a tower."""

    clips = ("even",)
    test_a_prompt_in_chunks_that_part_a_clip = None
    case = replace(
        BASE,
        name="gemma4_unified",
        model=unified,
        processor=processor(Gemma4UnifiedProcessor, Gemma4UnifiedImageProcessor, Gemma4UnifiedVideoProcessor),
        spellings=(Spelling("transformers-5", ()), Spelling("mlx-community", PATCH_WORDS)),
    )


def test_sizes_and_moments_are_those_of_the_reference():
    """Of many shapes, strips among them, at the sizes that published checkpoints ask for."""
    rng = np.random.default_rng(1)
    for most in SUPPORTED:
        recipe = PatchBudget.read({}, (16, 3), most, whole=False, as_torch=False)
        for height, width in [*rng.integers(1, 300, (200, 2)), *rng.integers(1, 5000, (200, 2)), (1, 5000), (5000, 1)]:
            size = (int(height), int(width))
            assert recipe.scaled_size(size) == get_aspect_ratio_preserving_size(*size, 16, most * 9, 3)
    for count, fps in ((32, 24.0), (33, 7.5), (100, 30.0), (1000, 23.976)):
        facts = facts_of(np.empty((count, 2, 2, 3)), fps)
        choose = EvenParts(fps=2, number=32, least=1, most=768, group=1)
        metadata = VideoMetadata(total_num_frames=count, fps=fps)
        assert choose(facts, ClipWish()) == default_sample_indices_fn(metadata, num_frames=32).tolist()
        assert choose(facts, ClipWish(fps=1.5)) == default_sample_indices_fn(metadata, fps=1.5).tolist()
        assert len(choose(facts, ClipWish(max_frames=3))) == 3

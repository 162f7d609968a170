"""LLaVA-OneVision with pictures and clips against transformers."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from transformers import LlavaOnevisionConfig, LlavaOnevisionForConditionalGeneration
from transformers.models.llava_onevision.image_processing_pil_llava_onevision import LlavaOnevisionImageProcessorPil
from transformers.models.llava_onevision.processing_llava_onevision import LlavaOnevisionProcessor
from transformers.models.llava_onevision.video_processing_llava_onevision import LlavaOnevisionVideoProcessor

from engine.models.layers.bilinear import resized
from tests.reference import tiny
from tests.reference.clip_parity import CLIPS, ClipParity
from tests.reference.parity import Case, VisionParity
from tests.reference.spelling import TOWER_AND_DECODER

PINPOINTS = [[32 * rows, 32 * columns] for rows in range(1, 5) for columns in range(1, 5)]


def llava_onevision(most=9, **text_config):
    def build(tokenizer):
        return LlavaOnevisionForConditionalGeneration(
            LlavaOnevisionConfig(
                vision_config=tiny.VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
                text_config=tiny.TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)} | text_config,
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                video_token_index=tokenizer.convert_tokens_to_ids("<video>"),
                image_grid_pinpoints=PINPOINTS,
                vision_aspect_ratio=f"anyres_max_{most}",
            )
        )

    return build


def processor(most=9, frames=5):
    size = {"height": 32, "width": 32}
    pictures = LlavaOnevisionImageProcessorPil(size=size, image_grid_pinpoints=PINPOINTS)
    clips = LlavaOnevisionVideoProcessor(size=size, do_sample_frames=True, num_frames=frames)
    return lambda tokenizer: LlavaOnevisionProcessor(
        pictures, tokenizer, clips, 16, "full", vision_aspect_ratio=f"anyres_max_{most}"
    )


BASE = Case("llava_onevision", llava_onevision(), ("<image>", "<video>"), processor(), TOWER_AND_DECODER)


class TestLlavaOnevision(VisionParity, ClipParity):
    case = BASE
    clip = "User:<video>What is it?\nAssistant:"
    both = "User:<image>And<video>then<image>?\nAssistant:"

    def test_a_clip_in_pieces(self, clip_pair):
        """A pause behind each frame."""
        _, (media,) = clip_pair.ours.prompt(self.clip, [CLIPS["even"]])
        *pauses, _ = clip_pair.ours.model.encode_in_pieces(media)
        assert len(pauses) == len(media.arrays["pixel_values"]) == 5


class TestScaledDown(VisionParity):
    """More features than two tiles have are scaled down, by other factors for other shapes."""

    case = replace(
        BASE,
        name="llava_onevision, scaled",
        model=llava_onevision(2, tie_word_embeddings=True, num_key_value_heads=4),
        processor=processor(2),
    )


@pytest.mark.parametrize("size", [(5, 9), (9, 5), (1, 3), (7, 7)])
def test_maps_are_resized_as_by_pytorch(size):
    features = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.tensor(features).permute(2, 0, 1)[None], size, mode="bilinear")[0]
    assert np.abs(np.array(resized(mx.array(features), *size)) - theirs.permute(1, 2, 0).numpy()).max() < 1e-5

"""Gemma 3 with pictures against transformers."""

from dataclasses import replace

from transformers import Gemma3Config, Gemma3ForConditionalGeneration
from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import TOWER_AND_DECODER

START, END, SLOT = SPECIALS = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")

DECODER = {
    "model_type": "gemma3_text",
    "num_hidden_layers": 3,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"],
    "sliding_window": 64,
    "query_pre_attn_scalar": 12,
    "pad_token_id": 0,
    "rope_parameters": {
        "full_attention": {"rope_type": "default", "rope_theta": 5000.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 300.0},
    },
}


def gemma3(features=4, **text_config):
    def build(tokenizer):
        start, end, slot = tokenizer.convert_tokens_to_ids(SPECIALS)
        return Gemma3ForConditionalGeneration(
            Gemma3Config(
                vision_config=tiny.VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
                text_config=tiny.TEXT | DECODER | {"vocab_size": len(tokenizer)} | text_config,
                mm_tokens_per_image=features,
                boi_token_index=start,
                eoi_token_index=end,
                image_token_index=slot,
            )
        )

    return build


def processor(features=4):
    def build(tokenizer):
        tokenizer.boi_token, tokenizer.eoi_token, tokenizer.image_token = SPECIALS
        tokenizer.boi_token_id, tokenizer.eoi_token_id, tokenizer.image_token_id = tokenizer.convert_tokens_to_ids(
            SPECIALS
        )
        pictures = Gemma3ImageProcessorPil(size={"height": 32, "width": 32})
        return Gemma3Processor(pictures, tokenizer, image_seq_length=features)

    return build


BASE = Case(
    "gemma3",
    gemma3(),
    SPECIALS,
    processor(),
    TOWER_AND_DECODER,
    one=f"user\n{START}What is it?\nmodel\n",
    two=f"user\n{START}And {START}this?\nmodel\n",
    suffix_type=0,
)


class TestGemma3(RunnerParity, VisionParity):
    case = BASE


class TestShortWindow(RunnerParity, VisionParity):
    """A window shorter than a picture has features, so that it bounds what they see of each other."""

    case = replace(
        BASE,
        name="gemma3, short window",
        model=gemma3(16, sliding_window=11, num_key_value_heads=1),
        processor=processor(16),
    )

"""LLaVA with both towers and three decoders against transformers."""

from dataclasses import replace

from transformers import LlavaConfig, LlavaForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava.processing_llava import LlavaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.spelling import TOWER_AND_DECODER

SQUARE = {"height": 32, "width": 32}


def llava(tower="clip_vision_model", text_config=None, **changes):
    def build(tokenizer):
        return LlavaForConditionalGeneration(
            LlavaConfig(
                vision_config=tiny.VISION | {"model_type": tower},
                text_config=tiny.TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                **changes,
            )
        )

    return build


def processor(pictures, extra=1, strategy="default"):
    return lambda tokenizer: LlavaProcessor(pictures, tokenizer, 8, strategy, num_additional_image_tokens=extra)


CLIP = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE)
SIGLIP = SiglipImageProcessorPil(size=SQUARE)
PADDED = LlavaImageProcessorPil(do_pad=True, size={"shortest_edge": 32}, crop_size=SQUARE)

BASE = Case("llava: clip, llama", llava(), ("<image>",), processor(CLIP), TOWER_AND_DECODER)


class TestClipLlama(VisionParity):
    case = BASE


class TestSiglipQwen2(VisionParity):
    case = replace(
        BASE,
        name="llava: siglip, qwen2",
        model=llava(
            "siglip_vision_model",
            {"model_type": "qwen2", "tie_word_embeddings": True},
            vision_feature_select_strategy="full",
            vision_feature_layer=-1,
        ),
        processor=processor(SIGLIP, 0, "full"),
    )


class TestClipMistral(VisionParity):
    """Several layers of the tower side by side, the class token among them, and a window shorter than the prompt."""

    case = replace(
        BASE,
        name="llava: clip, mistral",
        model=llava(
            text_config={"model_type": "mistral", "sliding_window": 30},
            vision_feature_select_strategy="full",
            vision_feature_layer=[-3, 1, -1],
            multimodal_projector_bias=False,
        ),
        processor=processor(CLIP, 1, "full"),
    )


class TestPaddedPictures(VisionParity):
    """A picture made square by a border before it is scaled; SigLIP's first patch dropped, as the config says."""

    case = replace(
        BASE,
        name="llava: siglip, padded",
        model=llava("siglip_vision_model"),
        processor=processor(PADDED, 0),
    )

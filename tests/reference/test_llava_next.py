"""LLaVA-NeXT with both towers and three decoders, Granite Vision among them, against transformers."""

from dataclasses import replace

from PIL import Image
from transformers import LlavaNextConfig, LlavaNextForConditionalGeneration
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor

from tests.reference import tiny
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.spelling import TOWER_AND_DECODER

PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96]]


def llava_next(tower="clip_vision_model", text_config=None, **changes):
    def build(tokenizer):
        return LlavaNextForConditionalGeneration(
            LlavaNextConfig(
                vision_config=tiny.VISION | {"model_type": tower},
                text_config=tiny.TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                **{"image_grid_pinpoints": PINPOINTS} | changes,
            )
        )

    return build


def processor(extra=1, strategy="default", **settings):
    pictures = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}} | settings
    pictures = LlavaNextImageProcessorPil(**{"image_grid_pinpoints": PINPOINTS} | pictures)
    return lambda tokenizer: LlavaNextProcessor(pictures, tokenizer, 8, strategy, num_additional_image_tokens=extra)


BASE = Case("llava_next: clip, llama", llava_next(), ("<image>",), processor(), TOWER_AND_DECODER)


class TestClipLlama(VisionParity):
    case = BASE


class TestClipMistral(VisionParity):
    case = replace(
        BASE,
        name="llava_next: clip, mistral",
        model=llava_next(text_config={"model_type": "mistral", "sliding_window": 40}, multimodal_projector_bias=False),
    )


class TestGraniteVision(VisionParity):
    """A SigLIP tower, several of its layers side by side, and strips of tiles among the resolutions."""

    points = [[32, 32 * columns] for columns in range(1, 6)] + [[32 * rows, 32] for rows in range(2, 6)]
    case = replace(
        BASE,
        name="llava_next: siglip, granite",
        model=llava_next(
            "siglip_vision_model",
            {
                "model_type": "granite",
                "embedding_multiplier": 3.0,
                "attention_multiplier": 0.3,
                "residual_multiplier": 0.7,
                "logits_scaling": 8.0,
                "tie_word_embeddings": True,
            },
            vision_feature_select_strategy="full",
            vision_feature_layer=[-3, -2, 1, -1],
            image_grid_pinpoints=points,
            tie_word_embeddings=True,
        ),
        processor=processor(0, "full", size={"height": 32, "width": 32}, image_grid_pinpoints=points),
    )


class TestHairline:
    """A picture so narrow that nothing is left of its tiles once the border is off: the small copy stays."""

    def test_only_the_whole_is_seen(self, tmp_path):
        pair = Pair(BASE, tmp_path)
        for size in ((5000, 1), (1, 5000)):
            pictures = [Image.new("RGB", size, "red")]
            ours, theirs = (one.logits(BASE.one, pictures) for one in (pair.ours, pair))
            assert difference(ours, theirs) < TOLERANCE

"""GOT-OCR 2 against transformers."""

from dataclasses import replace

from transformers import GotOcr2Config, GotOcr2ForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.got_ocr2.processing_got_ocr2 import GotOcr2Processor

from engine.models.families.got_ocr2 import TEMPLATE
from tests.reference import tiny
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.spelling import Spelling, kernels_last

SPECIALS = ("<imgpad>", "<img>", "</img>", "<|im_start|>", "<|im_end|>")

BEFORE = (("model.language_model.", "language_model.model."), ("lm_head.", "language_model.lm_head."), ("model.", ""))

SPELLINGS = (
    Spelling("transformers-4", BEFORE, old_config=True),
    Spelling("mlx", BEFORE, old_config=True, rework=kernels_last),
)

VISION = {
    "hidden_size": 36,
    "mlp_dim": 56,
    "output_channels": 10,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 56,
    "patch_size": 8,
    "window_size": 3,
    "global_attn_indexes": [1],
}
"""Windows that do not go into seven patches evenly."""


def got_ocr2(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        return GotOcr2ForConditionalGeneration(
            GotOcr2Config(
                text_config=tiny.TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids("<imgpad>"),
                **changes,
            )
        )

    return build


def processor(count, **settings):
    def build(tokenizer):
        built = GotOcr2Processor(GotOcr2ImageProcessorPil(**settings), tokenizer)
        built.num_image_tokens = count
        return built

    return build


BASE = Case(
    "got_ocr2",
    got_ocr2(),
    SPECIALS,
    processor(4, size={"height": 56, "width": 56}),
    SPELLINGS,
    one="User:<img><imgpad></img>\nOCR: \nAssistant:",
    two="User:<img><imgpad></img>\nAnd <img><imgpad></img>\nOCR across multi pages: \nAssistant:",
)


class TestGotOcr2(VisionParity):
    """Tied, as published."""

    case = BASE


class TestUntied(VisionParity):
    """A head of its own, no biases, even windows, pixels left as they are scaled."""

    case = replace(
        BASE,
        name="got_ocr2, untied",
        model=got_ocr2(
            {"num_key_value_heads": 4},
            {"qkv_bias": False, "image_size": 32, "window_size": 2, "num_attention_heads": 3, "hidden_act": "relu"},
            tie_word_embeddings=False,
        ),
        processor=processor(1, size={"height": 32, "width": 32}, do_normalize=False, resample=2),
    )


def test_the_template_is_the_prompt_that_the_reference_builds(tmp_path):
    pair = Pair(BASE, tmp_path)
    picture = tiny.picture("square")
    parts = [{"type": "image"}, {"type": "text", "text": " OCR with format: "}]
    text = pair.tokenizer.apply_chat_template(
        [{"role": "user", "content": parts}], tokenize=False, add_generation_prompt=True, chat_template=TEMPLATE
    )
    theirs = pair.processor(images=picture, format=True, return_tensors="pt")
    assert pair.ours.prompt(text, [picture])[0] == theirs["input_ids"][0].tolist()

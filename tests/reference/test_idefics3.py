"""Idefics3 and SmolVLM against transformers."""

from dataclasses import replace

from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
)
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.idefics3.processing_idefics3 import Idefics3Processor
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.spelling import Spelling

SPECIALS = (
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 5) for column in range(1, 5)),
)

SPELLINGS = (
    Spelling("transformers-4", (), old_config=True),
    Spelling(
        "mlx-community",
        (
            ("model.text_model.", "language_model."),
            ("lm_head.", "language_model.lm_head."),
            ("model.", ""),
        ),
        old_config=True,
        mlx_layout=True,
    ),
)


def settings(tokenizer, **changes):
    text = tiny.TEXT | {"vocab_size": len(tokenizer)} | changes.pop("text_config", {})
    vision = tiny.VISION | changes.pop("vision_config", {})
    token = tokenizer.convert_tokens_to_ids("<image>")
    return {"text_config": text, "vision_config": vision, "image_token_id": token, "scale_factor": 2} | changes


def processor(tokenizer, features=4, **changes):
    picture = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}} | changes
    return Idefics3Processor(Idefics3ImageProcessorPil(**picture), tokenizer, image_seq_len=features)


def idefics3(**changes):
    return lambda tokenizer: Idefics3ForConditionalGeneration(Idefics3Config(**settings(tokenizer, **changes)))


BASE = Case("idefics3", idefics3(), SPECIALS, processor, SPELLINGS)


class TestIdefics3(VisionParity):
    case = BASE


class TestTied(VisionParity):
    case = replace(BASE, name="idefics3, tied head", model=idefics3(tie_word_embeddings=True))


class TestWholePictures(VisionParity):
    """Without tiles, and tiles of another size than the tower was made for."""

    case = replace(
        BASE,
        name="idefics3, no tiles",
        model=idefics3(vision_config={"image_size": 40, "patch_size": 7, "hidden_act": "gelu"}, scale_factor=3),
        processor=lambda tokenizer: processor(
            tokenizer, 9, do_image_splitting=False, max_image_size={"longest_edge": 64}
        ),
    )


DOCLING = (*(token for token in SPECIALS if token != "<end_of_utterance>"), "<|end_of_text|>", "<end_of_utterance>")


class TestGraniteDocling(VisionParity):
    """Sixteen patches a feature, up to four tiles on a side, and a last token that has no embedding: its tokenizer has
    one more than the decoder."""

    case = replace(
        BASE,
        name="idefics3, granite-docling",
        specials=DOCLING,
        model=lambda tokenizer: idefics3(
            text_config={
                "vocab_size": len(tokenizer) - 1,
                "hidden_size": 54,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
            },
            vision_config={"image_size": 64, "hidden_act": "gelu_pytorch_tanh"},
            scale_factor=4,
            tie_word_embeddings=True,
        )(tokenizer),
        processor=lambda tokenizer: processor(
            tokenizer, 4, size={"longest_edge": 256}, max_image_size={"longest_edge": 64}, resample=1
        ),
    )


class TestSmolVLM(VisionParity):
    """Its own processor class wants packages for video, so Idefics3's stands in: pictures go the same way."""

    case = replace(
        BASE,
        name="smolvlm",
        model=lambda tokenizer: SmolVLMForConditionalGeneration(SmolVLMConfig(**settings(tokenizer))),
    )


def test_smolvlm_cuts_and_words_pictures_like_idefics3():
    """What lets one processor stand for both, should transformers ever change either."""
    tokenizer = tiny.tokenizer(SPECIALS)
    reference = processor(tokenizer)
    cut = {"size": {"longest_edge": 96}, "max_image_size": {"longest_edge": 32}, "return_row_col_info": True}
    for name in tiny.PICTURES:
        theirs = SmolVLMImageProcessorPil(**cut)(tiny.picture(name), return_tensors="np")
        ours = Idefics3ImageProcessorPil(**cut)(tiny.picture(name), return_tensors="np")
        assert (theirs["pixel_values"] == ours["pixel_values"]).all()
        rows, columns = theirs["rows"][0][0], theirs["cols"][0][0]
        text = get_image_prompt_string(rows, columns, 4, SPECIALS[0], "<image>", "<global-img>")
        assert text == reference.replace_image_token(theirs, 0)

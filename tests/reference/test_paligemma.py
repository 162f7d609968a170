"""PaliGemma 1 and 2 against transformers."""

from dataclasses import replace

from transformers import PaliGemmaConfig, PaliGemmaForConditionalGeneration
from transformers.models.paligemma.processing_paligemma import PaliGemmaProcessor
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from engine.api.request import Image, Message, Role, Text
from engine.models.families.paligemma import TEMPLATE
from engine.run.template import ChatTemplate
from tests.reference import tiny
from tests.reference.parity import Case, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import TOWER_AND_DECODER

BOS = "<bos>"


def paligemma(**text_config):
    def build(tokenizer):
        text = tiny.TEXT | {"model_type": "gemma", "vocab_size": len(tokenizer), "pad_token_id": 0} | text_config
        return PaliGemmaForConditionalGeneration(
            PaliGemmaConfig(
                vision_config=tiny.VISION | {"model_type": "siglip_vision_model", "vision_use_head": False},
                text_config=text,
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                projection_dim=text["hidden_size"],
                hidden_size=text["hidden_size"],
            )
        )

    return build


class LaidOut:
    """The reference's processor lays a question out as a prompt; the engine's template does. Both end in the same."""

    def __init__(self, tokenizer):
        tokenizer.bos_token, tokenizer.image_token = BOS, "<image>"
        tokenizer.image_token_id = tokenizer.convert_tokens_to_ids("<image>")
        self.image_processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
        self.image_processor.image_seq_length = 16
        self._real = PaliGemmaProcessor(self.image_processor, tokenizer)

    def __call__(self, text, **inputs):
        assert text.count(BOS) == 1
        assert text.endswith("\n")
        return self._real(text=text.replace(BOS, "").removesuffix("\n"), **inputs)


BASE = Case(
    "paligemma: gemma",
    paligemma(),
    ("<image>", BOS, "<eos>"),
    LaidOut,
    TOWER_AND_DECODER,
    text=f"{BOS}Hello there, model.\n",
    one=f"<image>{BOS}What is it?\n",
    two=f"<image><image>{BOS}And this?\n",
    suffix_type=1,
)


class TestPaliGemma(RunnerParity, VisionParity):
    found_again = False
    case = BASE


class TestPaliGemma2(RunnerParity, VisionParity):
    """Another decoder: caps on scores and logits, a window shorter than the prompt, keys shared by all queries."""

    found_again = False
    case = replace(
        BASE,
        name="paligemma: gemma2",
        model=paligemma(
            model_type="gemma2",
            query_pre_attn_scalar=20,
            num_key_value_heads=1,
            attn_logit_softcapping=2.0,
            final_logit_softcapping=5.0,
            sliding_window=9,
        ),
    )


def test_the_template_asks_the_last_question_about_every_picture():
    tokenizer = tiny.tokenizer(BASE.specials)
    tokenizer.bos_token = BOS
    picture = Image("picture.png")
    messages = [
        Message(Role.USER, (picture, Text("What?"))),
        Message(Role.ASSISTANT, (Text("A cat."),)),
        Message(Role.USER, (Text("caption en"), picture)),
    ]
    rendered = ChatTemplate(tokenizer, TEMPLATE, "<image>").render(messages, {})
    assert rendered == f"<image><image>{BOS}caption en\n"

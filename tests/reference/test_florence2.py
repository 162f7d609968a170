"""Florence-2 against transformers: its encoder reads once, its decoder is what is compared."""

import json
import re
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from mlx_lm.tokenizer_utils import BPEStreamingDetokenizer, TokenizerWrapper
from transformers import Florence2Config, Florence2ForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.florence2.processing_florence2 import Florence2Processor

from engine.api.errors import CheckpointError, RequestError
from engine.api.request import Image, Message, Role, Text
from engine.api.settings import CacheSettings, SamplingSettings
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.loading.config import normalise, read_config
from engine.models.families.florence2 import FAMILY
from engine.models.processors.tasks import add_answer_tokens, answer_tokens, slot_token
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.sampler import Sampler
from engine.run.template import ChatTemplate
from tests.reference import tiny
from tests.reference.parity import NEW_TOKENS, Case, Pair, VisionParity
from tests.reference.spelling import Spelling

BOS, EOS, SLOT = "<s>", "</s>", "<image>"
SPECIALS = (BOS, "<pad>", EOS, "<loc_0>", "<loc_1>", SLOT)

TEXT = {
    "model_type": "bart",
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 3,
    "encoder_ffn_dim": 56,
    "decoder_ffn_dim": 40,
    "max_position_embeddings": 120,
}
VISION = {
    "depths": [1, 2, 1],
    "patch_size": [7, 3, 3],
    "patch_stride": [4, 2, 2],
    "patch_padding": [3, 1, 1],
    "patch_prenorm": [False, True, True],
    "embed_dim": [8, 12, 20],
    "num_heads": [2, 3, 4],
    "num_groups": [4, 2, 5],
    "window_size": 5,
    "projection_dim": 48,
    "max_position_embeddings": 8,
}
"""Windows of five places, which go into none of the maps evenly."""


def with_copies(state):
    """Of the embeddings, which some files have for encoder and decoder as well."""
    return {name: tensor.clone() for name, tensor in state.items()}


def authors(state):
    """Under the names of the code that came with the first checkpoints, with what only they hold."""
    shared = state["model.language_model.shared.weight"]
    found = {"language_model.final_logits_bias": torch.zeros(1, len(shared))}
    found["language_model.lm_head.weight"] = shared.clone()
    for name, tensor in with_copies(state).items():
        name = name.removeprefix("model.").replace("language_model.", "language_model.model.")
        name = re.sub(r"(convs\.\d+)\.conv\.", r"\1.proj.", name)
        name = re.sub(r"\.(conv[12])\.", r".\1.fn.dw.", name)
        kind = "window_attn" if "spatial_block" in name else "channel_attn"
        name = name.replace(f".{kind}.", f".{kind}.fn.").replace(".norm1.", f".{kind}.norm.")
        name = name.replace(".ffn.", ".ffn.fn.net.").replace(".norm2.", ".ffn.norm.")
        name = name.removeprefix("multi_modal_projector.").replace("image_position_embed", "image_pos_embed")
        if name == "image_projection.weight":
            name, tensor = "image_projection", tensor.T
        found[name] = tensor
    return found


def channels_last(state):
    return {name: tensor.movedim(1, -1) if tensor.ndim == 4 else tensor for name, tensor in authors(state).items()}


def reworded(config):
    vision, text = config["vision_config"], config["text_config"]
    vision["dim_embed"], vision["model_type"] = vision.pop("embed_dim"), "davit"
    vision["image_pos_embed"] = {"type": "learned_abs_2d", "max_pos_embeddings": vision.pop("max_position_embeddings")}
    times = vision.pop("max_temporal_embeddings")
    vision["visual_temporal_embedding"] = {"type": "COSINE", "max_temporal_embeddings": times}
    vision["image_feature_source"] = ["spatial_avg_pool", "temporal_avg_pool"]
    text["model_type"] = "florence2_language"
    return {name: value for name, value in config.items() if name != "tie_word_embeddings"}


SPELLINGS = (
    Spelling("transformers-5", (), rework=with_copies),
    Spelling("authors", (), rework=authors, reword=reworded),
    Spelling("mlx-community", (), rework=channels_last, reword=reworded),
)


def florence2(text=None, vision=None):
    def build(tokenizer):
        bos, pad, eos = tokenizer.convert_tokens_to_ids(SPECIALS[:3])
        tokens = {"bos_token_id": bos, "pad_token_id": pad, "eos_token_id": eos, "decoder_start_token_id": eos}
        return Florence2ForConditionalGeneration(
            Florence2Config(
                text_config=TEXT | tokens | {"vocab_size": len(tokenizer)} | (text or {}),
                vision_config=VISION | (vision or {}),
                image_token_id=tokenizer.convert_tokens_to_ids(SLOT),
            )
        )

    return build


class Undressed:
    """The reference's processor for prompts that are dressed as it would dress them."""

    def __init__(self, processor):
        self.image_processor = processor.image_processor
        self._processor = processor

    def __call__(self, text, images, return_tensors):
        text = text.removeprefix(SLOT + BOS).removesuffix(EOS)
        return self._processor(text=text, images=images, return_tensors=return_tensors)


def processor(side=80, features=26, **settings):
    size = {"height": side, "width": side}
    pictures = CLIPImageProcessorPil(size=size, do_center_crop=False, image_seq_length=features, **settings)

    def build(tokenizer):
        tokenizer.bos_token, tokenizer.pad_token, tokenizer.eos_token = SPECIALS[:3]
        tokenizer.image_token, tokenizer.image_token_id = SLOT, tokenizer.convert_tokens_to_ids(SLOT)
        return Undressed(Florence2Processor(pictures, tokenizer))

    return build


BASE = Case(
    "florence2",
    florence2(),
    SPECIALS,
    processor(),
    SPELLINGS,
    text=f"{BOS}What is it?{EOS}",
    one=f"{SLOT}{BOS}Locate <loc_1> in the image.{EOS}",
)


class ReadingPair(Pair):
    """What is written begins as generation settings have it begin."""

    def inputs(self, text, pictures):
        begin = self.tokenizer.convert_tokens_to_ids([EOS, BOS])
        return super().inputs(text, pictures) | {"decoder_input_ids": torch.tensor([begin])}

    def greedy(self, text, pictures):
        inputs, found = self.inputs(text, pictures), []
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                found.append(int(self.reference(**inputs, use_cache=False).logits[0, -1].argmax()))
                written = torch.cat([inputs["decoder_input_ids"], torch.tensor([found[-1:]])], dim=1)
                inputs["decoder_input_ids"] = written
        return found


class Florence2Parity(VisionParity):
    # The model takes one.
    test_two_pictures_of_different_shapes = None

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory) -> Pair:
        return ReadingPair(self.case, tmp_path_factory.mktemp("reference"))

    def questions(self):
        return [(self.case.text, []), (self.case.text * 2, []), (self.case.one, [tiny.picture("portrait")])]

    def test_greedy_tokens_of_the_runner(self, pair):
        pictures = [tiny.picture("landscape")]
        ids, media = pair.ours.prompt(self.case.one, pictures)
        runner = Runner(pair.ours.model, CacheSettings(prefill_step_size=5), PrefixCache(0), FeatureCache(0))
        prompt = Prompt(np.array(ids), pair.ours.slots(ids, media), tuple(media), "")
        runner.open("one", prompt, Sampler(SamplingSettings(temperature=0.0), mx.array(ids), seed=0, logprobs=False))
        *_, (_, done, total) = runner.prefill("one")
        assert done == total == len(ids)
        found = [runner.decode(["one"])["one"][0].token_id for _ in range(NEW_TOKENS)]
        assert found == pair.greedy(self.case.one, pictures)


class TestFlorence2(Florence2Parity):
    case = BASE

    def test_answers_side_by_side(self, pair):
        """Rows of a batch come, go and are taken out again, as far as they have got."""
        asked = [(BASE.text, []), (BASE.one, [tiny.picture("portrait")]), (BASE.text * 2, [])]
        model, alone = pair.ours.model, [pair.ours.greedy(*one, 9) for one in asked]
        caches, last = [], []
        for text, pictures in asked:
            ids, media = pair.ours.prompt(text, pictures)
            caches.append(model.make_cache())
            *_, logits = pair.ours._prefill(ids, media, caches[-1], len(ids))
            last.append([int(logits[-1].argmax())])

        def step(rows, cache):
            logits = model(mx.array([last[row][-1:] for row in rows]), cache)[:, -1]
            for row, token in zip(rows, logits.argmax(axis=-1).tolist(), strict=True):
                last[row].append(token)

        first = [layers[0].merge(list(layers)) for layers in zip(*caches[:2], strict=True)]
        step([0, 1], first)
        step([0, 1], first)
        for layer, new in zip(first, caches[2], strict=True):
            layer.extend(new.merge([new]))
        step([0, 1, 2], first)
        for layer in first:
            layer.filter(mx.array([1, 2]))
        step([1, 2], first)
        single = [layer.extract(1) for layer in first]
        step([2], single)
        step([2], single)
        assert all(found == answer[: len(found)] for found, answer in zip(last, alone, strict=True))
        assert [len(found) for found in last] == [4, 5, 5]

    def test_a_prompt_that_is_too_long(self, pair):
        with pytest.raises(RequestError, match="121 tokens"):
            pair.ours.model.prefill_stops(np.zeros(121), 5)

    @pytest.mark.parametrize("said", [{"image_seq_length": 577}, {"size": {"height": 800, "width": 800}}])
    def test_a_preprocessor_for_another_tower(self, pair, tmp_path, said):
        config = normalise(read_config(pair.folder))
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(said))
        with pytest.raises(CheckpointError, match=r"577 features|too large"):
            FAMILY.processor(tmp_path, config, pair.ours.tokenizer)

    def test_an_answer_longer_than_there_are_positions(self, pair):
        assert len(pair.ours.greedy(BASE.text, [], 130)) == 130


class TestScaledEmbeddings(Florence2Parity):
    """Other groups, no biases in the tower, another activation, embeddings scaled."""

    case = replace(
        BASE,
        name="florence2: scaled",
        model=florence2(
            {"scale_embedding": True, "activation_function": "relu", "decoder_attention_heads": 6},
            {"qkv_bias": False, "num_groups": [2, 6, 4], "window_size": 4, "mlp_ratio": 1.5},
        ),
        processor=processor(97, 50, image_mean=[0.1, 0.2, 0.3], resample=2),
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    tokenizer = tiny.tokenizer(SPECIALS)
    tokenizer.bos_token, tokenizer.eos_token = BOS, EOS
    return ChatTemplate(tokenizer, FAMILY.chat_template, SLOT)


def asked(template, text):
    turns = [
        Message(Role.USER, (Image("a.png"), Text("<OD>"))),
        Message(Role.ASSISTANT, (Text("cat<loc_0>"),)),
        Message(Role.USER, (Text(text),)),
    ]
    return template.render(turns, {})


def test_tasks_are_worded_as_by_the_reference(template):
    tokenizer = tiny.tokenizer(SPECIALS)
    reference = processor()(tokenizer)._processor
    tasks = list(reference.task_prompts_without_inputs)
    tasks += [f"{task} a <loc_1> cat " for task in reference.task_prompts_with_input]
    for text in [*tasks, "a cat<REGION_TO_OCR>", "Where is the cat?"]:
        (prompt,) = reference._construct_prompts(text)
        assert asked(template, text) == f"{SLOT}{BOS}{prompt}{EOS}"


def test_a_task_that_takes_no_words_is_refused_with_some(template):
    with pytest.raises(RequestError, match="<OD> is a task"):
        asked(template, "<OD> of cats")


def test_the_tokens_that_the_authors_add_to_those_of_bart():
    tokens = answer_tokens()
    assert len(tokens) == 51289 - 50265 + 1
    assert (tokens[3], tokens[4], tokens[1003], tokens[1004], tokens[-1]) == (
        "</ocr>",
        "<loc_0>",
        "<loc_999>",
        "<cap>",
        "<image>",
    )
    assert len(set(tokens)) == len(tokens)


def test_a_tokenizer_gets_the_tokens_it_lacks():
    tokenizer = TokenizerWrapper(tiny.tokenizer(SPECIALS[:3]), BPEStreamingDetokenizer)
    for _ in range(2):
        add_answer_tokens(tokenizer)
        assert len(tokenizer) == 256 + 3 + 1025
    ids = tokenizer.encode("cat<loc_52></od>", add_special_tokens=False)
    assert ids[3:] == [259 + 4 + 52, 259 + 1]
    detokenizer = tokenizer.detokenizer
    for token in ids:
        detokenizer.add_token(token)
    assert detokenizer.text == "cat<loc_52></od>"
    assert slot_token(tokenizer, 259 + 1024) == SLOT
    with pytest.raises(CheckpointError, match="token 5 stands for pictures"):
        slot_token(tokenizer, 5)


def test_what_is_not_known_is_refused():
    source = {"image_feature_source": ["last_frame"], "dim_embed": [8]}
    with pytest.raises(CheckpointError, match="last_frame"):
        normalise({"model_type": "florence2", "vision_config": source})

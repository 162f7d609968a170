"""InternVL in transformers' form, with pictures and clips, against transformers."""

import json
from dataclasses import replace

import mlx.core as mx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
from transformers.models.internvl.processing_internvl import InternVLProcessor
from transformers.models.internvl.video_processing_internvl import InternVLVideoProcessor

from engine.loading.config import normalise, read_config
from engine.models.clips import ClipWish
from engine.models.families.internvl import FAMILY
from engine.models.frame_sampling import MiddleOfSteps
from engine.models.media.torch_resize import torch_resize
from tests.reference import tiny
from tests.reference.clips import drawn_clip, facts_of, metadata_of
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.spelling import Spelling

BEFORE = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)

SPELLINGS = (
    Spelling("transformers-4", BEFORE, old_config=True),
    Spelling("mlx-community", BEFORE, old_config=True, mlx_layout=True),
)

SPECIALS = ("<img>", "</img>", "<IMG_CONTEXT>", "<video>")

SIZE = {"height": 32, "width": 32}

VISION = tiny.VISION | {"image_size": [32, 32], "patch_size": [8, 8]}


def internvl(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        return InternVLForConditionalGeneration(
            InternVLConfig(
                text_config=tiny.TEXT | {"model_type": "qwen2", "vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>"),
                **{"tie_word_embeddings": False} | changes,
            )
        )

    return build


def processor(features=4, **changes):
    pictures = GotOcr2ImageProcessorPil(**{"size": SIZE, "image_mean": [0.4, 0.5, 0.6]} | changes)

    def build(tokenizer):
        names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
        for name, token in zip(names, SPECIALS, strict=True):
            setattr(tokenizer, name, token)
            setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
        return InternVLProcessor(pictures, tokenizer, InternVLVideoProcessor(size=SIZE), features)

    return build


BASE = Case(
    "internvl",
    internvl({"num_key_value_heads": 1}),
    SPECIALS,
    processor(),
    SPELLINGS,
    one="User:<IMG_CONTEXT>\nWhat is it?\nAssistant:",
    two="User:<IMG_CONTEXT>\nAnd <IMG_CONTEXT>\nthis?\nAssistant:",
)


class TestInternVL(VisionParity):
    case = BASE


class TestLargerTower(VisionParity):
    """Another norm, normalised queries, no biases; an earlier layer's features; Qwen3, tied; at least two tiles."""

    case = replace(
        BASE,
        name="internvl: larger tower, qwen3",
        model=internvl(
            {"model_type": "qwen3", "num_key_value_heads": 4, "head_dim": 16},
            {"norm_type": "rms_norm", "use_qk_norm": True, "use_mask_token": True, "num_attention_heads": 3},
            vision_feature_layer=-2,
            tie_word_embeddings=True,
        ),
        processor=processor(max_patches=5, min_patches=2),
    )


class TestExperts(VisionParity):
    """A norm behind the tower, biases, sixteen patches a feature, and no tiles."""

    case = replace(
        BASE,
        name="internvl: biases, qwen3_moe",
        model=internvl(
            {"model_type": "qwen3_moe", "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2},
            {"attention_bias": True, "use_mean_pooling": False, "hidden_act": "gelu_new"},
            downsample_ratio=0.25,
        ),
        processor=processor(1, max_patches=1),
    )
    test_a_picture_in_every_spelling = None


class TestClips:
    """The frames in the middle of even stretches, each a tile, numbered."""

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory) -> Pair:
        return Pair(BASE, tmp_path_factory.mktemp("clips"))

    @pytest.mark.parametrize("count", [2, 7, 61])
    def test_ids_pixels_and_logits(self, pair, count):
        clip, text = drawn_clip(count, (20, 45)), "User:<video>\nWhat happens?"
        said = {"size": SIZE, "num_frames": min(count, 7), "resample": 2, "image_std": [0.3, 0.2, 0.4]}
        (pair.folder / "video_preprocessor_config.json").write_text(json.dumps(said))
        clips = FAMILY.clips(pair.folder, normalise(read_config(pair.folder)), pair.ours.tokenizer)
        plan = clips.plan(facts_of(clip, 10.0), ClipWish())
        frames = np.stack([torch_resize(clip[index], plan.size, plan.resample) for index in plan.indices])
        media = clips.prepare(frames, facts_of(clip, 10.0), plan, "clip")
        pair.processor.video_processor = InternVLVideoProcessor(**said, do_sample_frames=True)
        theirs = pair.processor(text=text, videos=[clip], video_metadata=[metadata_of(clip, 10.0)], return_tensors="pt")
        ids = pair.ours.tokenizer.encode(text.replace(clips.marker, media.expansion), add_special_tokens=False)
        assert ids == theirs["input_ids"][0].tolist()
        assert np.abs(media.arrays["pixel_values"] - theirs["pixel_values"].numpy()).max() < 1e-5
        with torch.no_grad():
            logits = pair.reference(**{key: theirs[key] for key in ("input_ids", "pixel_values")}).logits[0].numpy()
        slots = mx.array(pair.ours.slots(ids, [media]))
        embeddings = pair.ours.model.embed(mx.array([ids]), slots, pair.ours.model.encode(media))
        ours = np.array(pair.ours.model(mx.array([ids]), None, embeddings)[0])
        assert difference(ours, logits) < TOLERANCE

    @pytest.mark.parametrize("number", [1, 3, 8, 13, 32])
    def test_the_frames_of_clips_of_many_lengths(self, number):
        theirs, ours = InternVLVideoProcessor(num_frames=number), MiddleOfSteps.read({"num_frames": number}, group=1)
        for count in [*range(number, 300), 1799, 5400, 86399]:
            facts = facts_of(np.broadcast_to(np.uint8(0), (count, 1, 1, 3)), 29.97)
            indices = theirs.sample_frames(type("Metadata", (), {"total_num_frames": count})())
            assert ours(facts, ClipWish()) == indices.tolist()

    def test_a_wish_is_heard(self, pair):
        clips = FAMILY.clips(pair.folder, normalise(read_config(pair.folder)), pair.ours.tokenizer)
        facts = facts_of(drawn_clip(60, (20, 45)), 10.0)
        assert clips.plan(facts, ClipWish(fps=0.5)).indices == (10, 30, 50)
        assert clips.plan(facts, ClipWish(max_frames=2)).indices == (15, 45)


@pytest.mark.parametrize("size", [(5000, 1), (1, 5000), (1, 1)])
def test_hairlines_and_dots_are_tiled_as_by_the_reference(tmp_path, size):
    pair = Pair(BASE, tmp_path)
    pictures = [Image.new("RGB", size, "red")]
    assert difference(pair.ours.logits(BASE.one, pictures), pair.logits(BASE.one, pictures)) < TOLERANCE


def test_without_preprocessor_files_tiles_are_the_towers(tmp_path):
    pair = Pair(BASE, tmp_path)
    for name in ("preprocessor_config.json", "processor_config.json"):
        (pair.folder / name).unlink(missing_ok=True)
    _, (media,) = Ours(pair.folder).prompt(BASE.one, [tiny.picture("landscape")])
    assert media.arrays["pixel_values"].shape == (3, 3, 32, 32)

"""Pixtral and Mistral 3, with Mistral's decoder and with Ministral 3's, against transformers."""

import json
from dataclasses import replace

import pytest
from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
)
from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
from transformers.models.pixtral.processing_pixtral import PixtralProcessor

from engine.api.errors import CheckpointError, MediaError
from engine.models.families.pixtral import FAMILY
from engine.models.recipes.rows import RowRecipe
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, VisionParity, difference
from tests.reference.spelling import BEFORE, Spelling
from tests.reference.test_pictures import SIZES, drawn

SPECIALS = ("[IMG]", "[IMG_BREAK]", "[IMG_END]")

SPELLINGS = (
    Spelling("transformers-5", ()),
    Spelling(
        "transformers-4",
        (
            ("model.language_model.", "language_model.model."),
            ("lm_head.", "language_model.lm_head."),
            ("model.", ""),
        ),
        old_config=True,
    ),
    Spelling("mlx-community", BEFORE, old_config=True, mlx_layout=True),
)

TEXT = tiny.TEXT | {"model_type": "mistral", "sliding_window": None}

VISION = tiny.VISION | {"model_type": "pixtral", "num_attention_heads": 6, "hidden_act": "silu"}
"""Heads of six channels: two frequencies run down, one across."""

YARN = {
    "rope_type": "yarn",
    "rope_theta": 999.0,
    "factor": 4.0,
    "original_max_position_embeddings": 16,
    "max_position_embeddings": 64,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "mscale": 1.0,
    "mscale_all_dim": 1.0,
    "llama_4_scaling_beta": 0.3,
}
"""So short that queries grow within the prompts."""


def pixtral(text_config=None, **changes):
    def build(tokenizer):
        settings = {"vision_feature_layer": -1, "vision_feature_select_strategy": "full"} | changes
        return LlavaForConditionalGeneration(LlavaConfig(**parts(tokenizer, text_config), **settings))

    return build


def mistral3(text_config=None, vision_config=None, **changes):
    return lambda tokenizer: Mistral3ForConditionalGeneration(
        Mistral3Config(**parts(tokenizer, text_config, vision_config), **{"tie_word_embeddings": False} | changes)
    )


def parts(tokenizer, text, vision=None):
    return {
        "text_config": TEXT | {"vocab_size": len(tokenizer)} | (text or {}),
        "vision_config": VISION | (vision or {}),
        "image_token_index": tokenizer.convert_tokens_to_ids("[IMG]"),
    }


def processor(patch=8, merge=1, **settings):
    pictures = PixtralImageProcessorPil(**{"size": {"longest_edge": 60}, "patch_size": patch} | settings)
    return lambda tokenizer: PixtralProcessor(pictures, tokenizer, patch_size=patch, spatial_merge_size=merge)


BASE = Case(
    "pixtral",
    pixtral(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one="[INST][IMG]What is it?[/INST]",
    two="[INST]First [IMG], then [IMG]: which?[/INST]",
)


class TestPixtral(VisionParity):
    case = BASE

    def test_as_mlx_community_calls_it(self, pair, tmp_path):
        """Pixtral by name, without what only the reference's own class says of it."""
        ours = Ours(renamed(pair, tmp_path))
        pictures = [tiny.picture("portrait")]
        assert difference(ours.logits(BASE.one, pictures), pair.logits(BASE.one, pictures)) < TOLERANCE

    def test_sight_of_another_kind_is_refused(self, pair):
        config = json.loads((pair.folder / "config.json").read_text())
        for key, value in (("vision_feature_select_strategy", "default"), ("vision_feature_layer", [-2, -1])):
            with pytest.raises(CheckpointError, match=r"drops a patch|not one layer"):
                FAMILY.build(config | {"model_type": "pixtral", key: value})


class TestEarlierLayer(VisionParity):
    """Another of the tower's states, a window shorter than the prompt, no biases between tower and decoder."""

    case = replace(
        BASE,
        name="pixtral, earlier layer",
        model=pixtral(
            {"sliding_window": 40, "num_key_value_heads": 1},
            vision_feature_layer=-2,
            multimodal_projector_bias=False,
            projector_hidden_act="gelu_pytorch_tanh",
        ),
        processor=processor(size={"height": 40, "width": 70}, resample=2, image_mean=[0.1, 0.2, 0.3]),
    )


class TestMistral3(VisionParity):
    case = replace(BASE, name="mistral3: mistral", model=mistral3(), processor=processor(merge=2))


class TestMinistral3(VisionParity):
    """Queries that grow with the distance, blocks of three patches, a tied head, biases in the projector."""

    case = replace(
        BASE,
        name="mistral3: ministral3",
        model=mistral3(
            {"model_type": "ministral3", "rope_parameters": YARN, "num_key_value_heads": 4},
            {"patch_size": 4, "hidden_act": "gelu"},
            tie_word_embeddings=True,
            spatial_merge_size=3,
            multimodal_projector_bias=True,
            vision_feature_layer=2,
        ),
        processor=processor(4, 3),
    )


def renamed(pair, folder):
    for file in pair.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    config["model_type"] = "pixtral"
    del config["text_config"]["rms_norm_eps"], config["vision_config"]["num_channels"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("room", [{"longest_edge": 1540}, {"longest_edge": 77}, {"height": 60, "width": 200}])
def test_how_pictures_are_scaled(room, size):
    if max(size) == 300 and room != {"longest_edge": 1540}:
        with pytest.raises(MediaError, match=f"{size[0]} x {size[1]} pixels"):
            RowRecipe.read({"size": room}, 28, 1024)(drawn(size))
        return
    theirs = PixtralImageProcessorPil(size=room, patch_size=28)(drawn(size), return_tensors="np")["pixel_values"][0]
    ours = RowRecipe.read({"size": room}, 28, 1024)(drawn(size))
    assert ours.shape == theirs.shape
    assert (ours == theirs).all()


def test_a_preprocessor_of_another_kind_is_refused():
    for settings in ({"do_resize": False}, {"do_center_crop": True}, {"size": {"shortest_edge": 20}}):
        with pytest.raises(CheckpointError):
            RowRecipe.read(settings, 16, 1024)

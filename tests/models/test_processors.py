import json

import pytest
from PIL import Image

from engine.api.errors import CheckpointError, MediaError
from engine.models.families import idefics3, llava
from engine.models.recipes.preprocessor import read_preprocessor

VISION = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
}
IDEFICS3 = {"vision_config": VISION, "scale_factor": 2, "image_token_id": 7}
CLIP = {
    "vision_config": VISION | {"model_type": "clip_vision_model"},
    "vision_feature_select_strategy": "default",
    "vision_feature_layer": -2,
    "image_token_index": 7,
}
SIGLIP = CLIP | {"vision_config": VISION | {"model_type": "siglip_vision_model"}}
PICTURE = Image.new("RGB", (60, 40), "red")


class Tokenizer:
    def convert_tokens_to_ids(self, tokens):
        return {"<image>": 7}[tokens]


def prepared(family, config, folder, picture=PICTURE):
    return family.read_processor(folder, config, Tokenizer()).prepare(picture, "digest")


def write(folder, settings, file="preprocessor_config.json"):
    (folder / file).write_text(json.dumps(settings))


def test_without_a_file_tiles_are_as_large_as_the_towers_pictures(tmp_path):
    media = prepared(idefics3, IDEFICS3, tmp_path)
    write(tmp_path, {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 32}})
    assert prepared(idefics3, IDEFICS3, tmp_path).digest == media.digest
    assert media.arrays["pixel_values"].shape == (4 * 3 + 1, 3, 32, 32)
    assert media.feature_count == media.expansion.count("<image>") == 13 * 4


@pytest.mark.parametrize(("config", "features"), [(CLIP, 16), (SIGLIP, 15)])
@pytest.mark.parametrize("strategy", ["default", "full"])
def test_without_a_file_llava_scales_to_the_towers_size(tmp_path, config, features, strategy):
    media = prepared(llava, config | {"vision_feature_select_strategy": strategy}, tmp_path)
    assert media.arrays["pixel_values"].shape == (1, 3, 32, 32)
    assert media.expansion == "<image>" * media.feature_count
    assert media.feature_count == features + (strategy == "full")


def test_the_digest_names_the_picture_and_what_was_done_to_it(tmp_path):
    processor = idefics3.read_processor(tmp_path, IDEFICS3, Tokenizer())
    first, second = processor.prepare(PICTURE, "a").digest, processor.prepare(PICTURE, "b").digest
    write(tmp_path, {"do_image_splitting": False, "max_image_size": {"longest_edge": 32}})
    third = idefics3.read_processor(tmp_path, IDEFICS3, Tokenizer()).prepare(PICTURE, "a").digest
    assert len({first, second, third}) == 3


def test_transformers_5_keeps_the_settings_inside_the_processors_file(tmp_path):
    write(tmp_path, {"image_processor": {"size": {"longest_edge": 9}}}, "processor_config.json")
    assert read_preprocessor(tmp_path) == {"size": {"longest_edge": 9}}


def test_a_setting_that_is_null_was_not_said(tmp_path):
    write(tmp_path, {"size": None, "do_resize": None, "resample": 2})
    assert read_preprocessor(tmp_path) == {"resample": 2}


@pytest.mark.parametrize("text", ["{", "[]", "\x00"])
def test_a_torn_file_is_named(tmp_path, text):
    (tmp_path / "preprocessor_config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"preprocessor_config\.json"):
        read_preprocessor(tmp_path)


def test_a_picture_far_too_narrow_is_refused(tmp_path):
    with pytest.raises(MediaError, match="9000 x 2"):
        prepared(llava, CLIP, tmp_path, Image.new("RGB", (9000, 2)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"image_processor_type": "MysteryImageProcessor"}, "'MysteryImageProcessor'"),
        ({"image_processor_type": "CLIPImageProcessor"}, "224 x 224 pixels, the tower takes 32 x 32"),
        ({"image_processor_type": "CLIPImageProcessor", "size": {"max_height": 3, "max_width": 3}}, "max_height"),
    ],
)
def test_settings_that_cannot_be_followed_are_named(tmp_path, settings, message):
    write(tmp_path, settings)
    with pytest.raises(CheckpointError, match=message):
        prepared(llava, CLIP, tmp_path)


@pytest.mark.parametrize(
    ("family", "config", "message"),
    [
        (idefics3, IDEFICS3 | {"image_token_id": 8}, "<image> is token 8, the tokenizer says 7"),
        (llava, CLIP | {"image_token_index": 8}, "<image> is token 8, the tokenizer says 7"),
        (idefics3, IDEFICS3 | {"scale_factor": 3}, "4 x 4 patches cannot be put together 3 x 3"),
    ],
)
def test_parts_that_do_not_belong_together_are_refused(tmp_path, family, config, message):
    with pytest.raises(CheckpointError, match=message):
        family.read_processor(tmp_path, config, Tokenizer())


def test_a_tower_that_llava_cannot_look_through_is_named():
    config = CLIP | {"vision_config": VISION | {"model_type": "pixtral"}}
    with pytest.raises(CheckpointError, match="'pixtral'"):
        llava.FAMILY.build(config)

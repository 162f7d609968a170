"""One normal form for the configs of transformers 4, transformers 5 and mlx-community."""

import json

import pytest

from engine.api.errors import CheckpointError
from engine.loading.config import custom_code, normalise, read_config, refuse_code, text_config

LLAMA = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
    "max_position_embeddings": 131072,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def write(folder, text):
    (folder / "config.json").write_text(text)
    return folder


def test_plain_theta_in_both_spellings():
    old = normalise({**LLAMA, "rope_theta": 500000.0})
    new = normalise({**LLAMA, "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0}})
    for config in (old, new):
        assert config["rope_theta"] == 500000.0
        assert config["rope_scaling"] is None
        assert config["rope_parameters"]["rope_theta"] == 500000.0


def test_theta_left_out_is_the_default_of_the_model_type():
    assert normalise({"model_type": "mixtral"})["rope_theta"] == 1_000_000.0


def test_llama3_scaling_in_both_spellings():
    old = normalise({**LLAMA, "rope_theta": 5e5, "rope_scaling": LLAMA3})
    new = normalise({**LLAMA, "rope_parameters": {**LLAMA3, "rope_theta": 5e5}})
    assert old["rope_theta"] == new["rope_theta"] == 5e5
    assert old["rope_scaling"] == new["rope_scaling"] == {**LLAMA3, "type": "llama3"}


def test_yarn_keeps_its_values_and_its_attention_factor():
    yarn = {"type": "yarn", "factor": 4, "original_max_position_embeddings": 32768, "attention_factor": 1.5}
    config = normalise({**LLAMA, "model_type": "qwen2", "rope_theta": 1e6, "rope_scaling": yarn})
    scaling = config["rope_scaling"]
    assert scaling["type"] == scaling["rope_type"] == "yarn"
    assert scaling["factor"] == 4.0
    assert scaling["original_max_position_embeddings"] == 32768

    from mlx_lm.models.rope_utils import initialize_rope

    rope = initialize_rope(16, config["rope_theta"], False, scaling, 131072)
    assert rope.mscale == pytest.approx(1.5)


@pytest.mark.parametrize(
    "rope",
    [
        {
            "rope_theta": 1e6,
            "rope_local_base_freq": 12345.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
        },
        {
            "rope_parameters": {
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 12345.0},
            }
        },
    ],
)
def test_gemma3_has_two_bases_and_a_period(rope):
    config = normalise({"model_type": "gemma3_text", "num_hidden_layers": 12, **rope})
    assert config["rope_theta"] == 1e6
    assert config["rope_local_base_freq"] == 12345.0
    assert config["rope_scaling"]["type"] == "linear"
    assert config["rope_scaling"]["factor"] == 8.0
    assert config["sliding_window_pattern"] == 6


def test_layer_types_without_a_period_are_refused_where_mlx_lm_needs_one():
    kinds = ["full_attention", "sliding_attention", "full_attention"]
    with pytest.raises(CheckpointError, match="layer_types"):
        normalise({"model_type": "gemma3_text", "num_hidden_layers": 3, "layer_types": kinds})


def test_partial_rotary_factor_comes_out_of_rope_parameters():
    parameters = {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}
    assert normalise({"model_type": "phi", "rope_parameters": parameters})["partial_rotary_factor"] == 0.25
    neox = normalise({"model_type": "gpt_neox", "rope_parameters": parameters})
    assert (neox["rotary_pct"], neox["rotary_emb_base"]) == (0.25, 1e4)


def test_a_type_transformers_does_not_know_is_spelled_all_the_same():
    config = normalise({"model_type": "only_mlx_lm", "rope_parameters": {"rope_type": "default", "rope_theta": 7.0}})
    assert config["rope_theta"] == 7.0
    assert config["rope_scaling"] is None


def test_composite_configs_are_completed_and_spelled_inside():
    raw = {
        "model_type": "llava",
        "torch_dtype": "bfloat16",
        "text_config": {"model_type": "qwen2", "hidden_size": 64, "rope_theta": 5.0},
        "vision_config": {"model_type": "clip_vision_model", "hidden_size": 36},
    }
    config = normalise(raw)
    assert config["dtype"] == "bfloat16"
    assert "torch_dtype" not in config
    assert config["vision_feature_layer"] == -2
    assert config["text_config"]["rope_theta"] == 5.0
    assert config["text_config"]["hidden_size"] == 64
    assert config["text_config"]["max_position_embeddings"] == 32768
    assert config["vision_config"]["patch_size"] == 32
    assert text_config(config) is config["text_config"]
    assert "text_config" in raw
    assert "rope_scaling" not in raw["text_config"]


def test_a_composite_config_that_contradicts_itself_says_how():
    vision = {"model_type": "clip_vision_model", "hidden_size": 33, "num_attention_heads": 2}
    with pytest.raises(CheckpointError, match=r"33.*not a multiple"):
        normalise({"model_type": "llava", "text_config": {"model_type": "qwen2"}, "vision_config": vision})


def test_a_text_config_left_out_is_the_default_of_the_family():
    config = normalise({"model_type": "idefics3"})
    assert config["text_config"]["model_type"] == "llama"
    assert config["text_config"]["rope_theta"] == 10000.0


@pytest.mark.parametrize(
    ("top", "inside", "tied"),
    [({}, {}, False), ({}, {"tie_word_embeddings": True}, True), ({"tie_word_embeddings": True}, {}, True)],
)
def test_tying_is_resolved_between_top_and_text(top, inside, tied):
    config = normalise({"model_type": "llava", **top, "text_config": {"model_type": "qwen2", **inside}})
    assert config["tie_word_embeddings"] is tied
    assert config["text_config"]["tie_word_embeddings"] is tied


@pytest.mark.parametrize("name", ["llava", "pixtral"])
def test_pixtral_under_both_its_names(name):
    text = {"model_type": "mistral", "rope_theta": 1e9, "sliding_window": None}
    config = normalise({"model_type": name, "vision_config": {"model_type": "pixtral"}, "text_config": text})
    assert config["model_type"] == "pixtral"
    assert config["vision_config"]["rope_parameters"]["rope_theta"] == 10000.0
    assert config["text_config"]["num_attention_heads"] == 32
    assert config["text_config"]["sliding_window"] is None


def test_a_hyphen_in_the_name_of_a_type_hides_no_defaults():
    config = normalise({"model_type": "lfm2-vl", "text_config": {"model_type": "lfm2", "block_ff_dim": 6656}})
    assert config["model_type"] == "lfm2-vl"
    assert config["projector_hidden_size"] == 2560
    assert config["text_config"]["intermediate_size"] == 6656


def test_a_decoder_at_the_top_of_the_file():
    rope = {"rope_theta": 99.0, "partial_rotary_factor": 0.5, "rope_scaling": {"type": "default", "mrope_section": [2]}}
    config = normalise({"model_type": "glm4v", "num_hidden_layers": 3, "vision_config": {"depth": 2}, **rope})
    text = config["text_config"]
    assert (text["model_type"], text["num_hidden_layers"]) == ("glm4v_text", 3)
    assert text["rope_parameters"] == {
        "type": "default",
        "rope_type": "default",
        "rope_theta": 99.0,
        "partial_rotary_factor": 0.5,
        "mrope_section": [2],
    }


def test_rotary_settings_at_the_top_are_those_of_the_decoder():
    decoder = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 3, "rope_theta": 99.0}
    config = normalise({"model_type": "qwen2_vl", **decoder, "rope_scaling": {"type": "mrope", "mrope_section": [2]}})
    assert config["text_config"]["rope_theta"] == 99.0
    assert config["text_config"]["rope_scaling"]["type"] == "mrope"


def test_quantization_is_left_alone():
    block = {"group_size": 64, "bits": 4, "lm_head": False}
    assert normalise({**LLAMA, "quantization": block, "quantization_config": block})["quantization"] == block


def test_floats_json_has_no_word_for(tmp_path):
    write(tmp_path, '{"model_type": "llama", "limit": {"__float__": "-Infinity"}}')
    assert read_config(tmp_path)["limit"] == float("-inf")


@pytest.mark.parametrize(
    ("text", "words"),
    [('{"model_type": ', "cannot be read"), ("[]", "not a JSON object"), ("{}", "names no model_type")],
)
def test_a_torn_config_is_named(tmp_path, text, words):
    with pytest.raises(CheckpointError, match=words) as caught:
        read_config(write(tmp_path, text))
    assert "config.json" in caught.value.message
    assert caught.value.hint


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_config(tmp_path)


def test_model_file_is_always_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"evil\.py"):
        refuse_code({"model_type": "llama", "model_file": "evil.py"}, tmp_path)
    refuse_code({"model_type": "llama", "auto_map": {"AutoModel": "x.Y"}}, tmp_path)


def test_custom_code_is_named():
    assert custom_code(json.loads('{"auto_map": {"AutoConfig": "c.C", "AutoModelForCausalLM": "m.M"}}')) == "m.M"
    assert custom_code({}) == ""


FULL_AND_NOT = {"num_hidden_layers": 2, "layer_types": ["sliding_attention", "full_attention"], "head_dim": 16}


@pytest.mark.parametrize(
    "numbers",
    [
        {"global_head_dim": 32, "num_global_key_value_heads": 2},
        {"per_layer_config": {"1": {"head_dim": 32, "num_key_value_heads": 2}}},
    ],
)
def test_gemma4_has_numbers_of_its_own_in_full_layers(numbers):
    config = normalise({"model_type": "gemma4_text", "attention_k_eq_v": True, **FULL_AND_NOT, **numbers})
    assert (config["head_dim"], config["global_head_dim"]) == (16, 32)
    assert (config["num_key_value_heads"], config["num_global_key_value_heads"]) == (4, 2)


@pytest.mark.parametrize(
    "numbers", [{"0": {"head_dim": 32}}, {"1": {"sliding_window": 3}}, {"1": {"num_key_value_heads": 2}}]
)
def test_numbers_of_single_layers_that_mlx_lm_cannot_be_told_are_refused(numbers):
    with pytest.raises(CheckpointError, match="per_layer_config"):
        normalise({"model_type": "gemma4_text", **FULL_AND_NOT, "per_layer_config": numbers})


def test_the_first_name_of_phi4_multimodal_is_known():
    rope = {"type": "longrope", "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}
    config = normalise(
        {
            "model_type": "phi4mm",
            "num_attention_heads": 24,
            "partial_rotary_factor": 0.75,
            "rope_scaling": rope,
            "vision_lora": {"r": 256, "lora_alpha": 512},
        }
    )
    assert (config["model_type"], config["vision_lora"]["r"]) == ("phi4mm", 256)
    assert (config["vision_config"]["image_size"], config["vision_config"]["image_token_id"]) == (448, 200010)
    assert config["rope_parameters"]["rope_type"] == config["rope_scaling"]["rope_type"] == "longrope"

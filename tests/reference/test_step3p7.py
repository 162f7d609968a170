"""Step 3.7 against transformers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from transformers import Step3p7Config, Step3p7ForConditionalGeneration
from transformers.models.step3p7.image_processing_step3p7 import Step3p7ImageProcessor
from transformers.models.step3p7.processing_step3p7 import Step3p7Processor

from engine.api.errors import CheckpointError, MediaError
from engine.models.recipes.window_crops import WindowRecipe
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import Case, Pair, VisionParity
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling, kernels_last, respell

SPECIALS = ("<im_patch>", "<patch_start>", "<patch_end>", "<patch_newline>", "<im_start>", "<im_end>")

KINDS = ["full_attention", "sliding_attention", "sliding_attention", "full_attention"]

ROTARY = {
    "full_attention": {"rope_type": "default", "rope_theta": 99.0, "partial_rotary_factor": 0.5},
    "sliding_attention": {"rope_type": "default", "rope_theta": 777.0},
}

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "rope_parameters")} | {
    "num_hidden_layers": 4,
    "num_sliding_attention_heads": 6,
    "sliding_window": 9,
    "layer_types": KINDS,
    "mlp_layer_types": ["dense", "sparse", "dense", "sparse"],
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 20,
    "share_expert_dim": 28,
    "moe_router_scaling_factor": 1.5,
    "rope_parameters": ROTARY,
}

VISION = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 64,
    "patch_size": 4,
    "mlp_ratio": 1.5,
}


def step3p7(text_config=None, vision_config=None, **changes):
    return lambda tokenizer: Step3p7ForConditionalGeneration(
        Step3p7Config(
            text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
            vision_config=VISION | (vision_config or {}),
            image_token_id=tokenizer.convert_tokens_to_ids("<im_patch>"),
            **changes,
        )
    )


def processor(whole=64, window=32, **changes):
    pictures = {"size": {"height": whole, "width": whole}, "patch_size": window, "max_image_size": 120} | changes

    def build(tokenizer):
        images = Step3p7ImageProcessor(**pictures)
        images.vision_patch_size = 4
        return Step3p7Processor(images, tokenizer)

    return build


def old_config(config):
    """As the Hub and mlx-community have it: lists that go on for the layers that guess ahead, other names."""
    text, vision = dict(config["text_config"]), dict(config["vision_config"])
    rotary, kinds = text.pop("rope_parameters"), text["layer_types"]
    text |= {
        "num_nextn_predict_layers": 1,
        "layer_types": [*kinds, "sliding_attention"],
        "rope_theta": [*(rotary[kind]["rope_theta"] for kind in kinds), 777.0],
        "partial_rotary_factors": [*(rotary[kind].get("partial_rotary_factor", 1.0) for kind in kinds), 1.0],
        "moe_layers_enum": ",".join(str(i) for i, kind in enumerate(text.pop("mlp_layer_types")) if kind == "sparse"),
        "attention_other_setting": {"num_attention_heads": text.pop("num_sliding_attention_heads")},
        "num_attention_groups": text.pop("num_key_value_heads"),
        "moe_num_experts": text.pop("n_routed_experts"),
        "moe_top_k": text.pop("num_experts_per_tok"),
    }
    own = ("rope_theta", "partial_rotary_factor")
    scaling = {key: value for key, value in rotary["full_attention"].items() if key not in own}
    if scaling["rope_type"] != "default":
        text |= {"rope_scaling": scaling, "yarn_only_types": ["full_attention"]}
    for name in ("per_layer_config", "mtp_layer_types", "mtp_mlp_layer_types", "query_pre_attn_scalar"):
        text.pop(name)
    names = {"hidden_size": "width", "num_hidden_layers": "layers", "num_attention_heads": "heads"}
    for new, old in names.items():
        vision[old] = vision.pop(new)
    vision.pop("rope_parameters")
    vision.pop("intermediate_size")
    return config | {"text_config": text, "vision_config": vision | {"model_type": "perception_encoder"}}


def converted(state):
    """As mlx-lm keeps experts and norms, and mlx-vlm the tower."""
    new = {}
    for name, tensor in kernels_last(state).items():
        if "norm" in name and name.startswith("model."):
            tensor = tensor + 1
        for old, other in (
            (".moe.gate.", ".mlp.gate.gate."),
            (".moe.router_bias", ".mlp.gate.router_bias"),
            (".moe.", ".mlp.switch_mlp."),
            (".share_expert.", ".mlp.share_expert."),
            ("transformer.resblocks.", "transformer."),
            (".in_proj_", ".in_proj."),
        ):
            name = name.replace(old, other)
        new[name] = tensor
    return new


MLX = (("model.", "language_model.model."), ("lm_head.", "language_model.lm_head."))

SEEN = "User:<im_patch>What is it?\nAssistant:"

BASE = Case(
    "step3p7",
    step3p7(),
    SPECIALS,
    processor(),
    (Spelling("hub", (), reword=old_config), Spelling("mlx-community", MLX, rework=converted, reword=old_config)),
    one=SEEN,
    two="User:<im_patch>And <im_patch>this?\nAssistant:",
)


class Windows(VisionParity):
    def test_a_picture_in_every_spelling(self, pair, row):
        """From the file that transformers writes, whose names are the Hub's and not those of its module."""
        pictures = [tiny.picture("landscape")]
        state = load_file(pair.folder / "model.safetensors")
        for spelling in self.case.spellings:
            ours = Ours(respell(state, pair.folder, spelling, pair.root / spelling.name))
            self.hold(row, ours.logits(self.case.one, pictures), pair.logits(self.case.one, pictures))

    def test_the_windows_of_a_picture(self, pair, row):
        for name in tiny.PICTURES:
            _, (media,) = pair.ours.prompt(self.case.one, [tiny.picture(name)])
            theirs = pair.inputs(self.case.one, [tiny.picture(name)])
            windows = media.arrays["pixel_values_local"]
            assert len(windows) == int(theirs["num_local_patches"])
            if len(windows):
                row.pixels = max(row.pixels, float(np.abs(windows - theirs["pixel_values_local"].numpy()).max()))
        assert row.pixels < 1e-5


class TestStep3p7(Windows, RunnerParity):
    case = BASE


class TestScaledAndClamped(Windows):
    """Positions stretched in layers without a window, bounds on what goes through experts, a shared head."""

    case = replace(
        BASE,
        name="step3p7, scaled, clamped",
        model=step3p7(
            text_config={
                "num_attention_heads": 2,
                "num_key_value_heads": 1,
                "num_sliding_attention_heads": 3,
                "head_dim": 16,
                "swiglu_limits": [0.0, 0.5, None, 0.8],
                "swiglu_limits_shared": [0.7, 0.0, 0.3, 0.4],
                "rope_parameters": ROTARY
                | {
                    "full_attention": {
                        "rope_type": "llama3",
                        "rope_theta": 99.0,
                        "partial_rotary_factor": 0.5,
                        "factor": 2.0,
                        "low_freq_factor": 1.0,
                        "high_freq_factor": 32.0,
                        "original_max_position_embeddings": 64,
                    }
                },
            },
            vision_config={"image_size": 48, "hidden_act": "gelu", "num_attention_heads": 3},
            projector_bias=True,
            tie_word_embeddings=True,
        ),
        processor=processor(48, 32),
    )


@pytest.mark.parametrize(
    "size",
    [(64, 64), (65, 64), (64, 40), (30, 20), (9, 40), (5, 64), (300, 70), (31, 125), (33, 140), (90, 500), (3, 2)],
)
def test_pictures_of_all_shapes(size):
    drawn = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    settings = {"size": {"height": 64, "width": 64}, "patch_size": 32, "max_image_size": 120}
    theirs = Step3p7ImageProcessor(**settings)([Image.fromarray(drawn)], return_tensors="np")
    whole, windows, (rows, columns) = WindowRecipe.read(settings)(Image.fromarray(drawn))
    assert np.abs(whole - theirs["pixel_values"]).max() < 1e-5
    assert len(windows) == rows * columns == theirs["num_local_patches"][0]
    if len(windows):
        assert np.abs(windows - theirs["pixel_values_local"].numpy()).max() < 1e-5
        behind = [column == columns - 1 and row < rows - 1 for row in range(rows) for column in range(columns)]
        assert behind == theirs["patch_newline_masks"][0]


def test_a_strip_is_squared_and_a_ribbon_is_refused():
    recipe = WindowRecipe.read({})
    assert recipe(Image.new("RGB", (5000, 1)))[2] == (6, 6)
    with pytest.raises(MediaError, match="longer than 200 times"):
        recipe(Image.new("RGB", (6601, 33)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"text_config": {"use_head_wise_attn_gate": False}}, "use_head_wise_attn_gate is False"),
        ({"text_config": {"mlp_layer_types": ["dense"] * 4}}, "no experts"),
        ({"text_config": {"query_pre_attn_scalar": 5}}, "attention of a kind"),
        ({"vision_config": {"use_cls_token": True}}, "use_cls_token is True"),
    ],
)
def test_what_is_not_known_is_refused(changes, message, tmp_path):
    pair = Pair(BASE, tmp_path)
    config = json.loads((pair.folder / "config.json").read_text())
    for part, change in changes.items():
        config[part] |= change
    (pair.folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        Ours(pair.folder)

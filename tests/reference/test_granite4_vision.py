"""Granite Vision 4.0 and 4.1 against transformers."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file
from transformers import Granite4VisionConfig, Granite4VisionForConditionalGeneration
from transformers.models.granite4_vision.processing_granite4_vision import Granite4VisionProcessor
from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil

from engine.api.errors import CheckpointError
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.running import RunnerParity
from tests.reference.spelling import BEFORE, TOWER_AND_DECODER, Spelling

PINPOINTS = [[32, 64], [64, 32], [64, 64], [96, 32], [32, 96], [32, 160]]

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "num_hidden_layers": 7,
    "embedding_multiplier": 3.0,
    "attention_multiplier": 0.3,
    "residual_multiplier": 0.7,
    "logits_scaling": 8.0,
}

VISION = tiny.VISION | {"hidden_size": 64, "num_hidden_layers": 4, "model_type": "siglip_vision_model"}


def granite4_vision(text_config=None, vision_config=None, **changes):
    settings = {
        "vision_feature_select_strategy": "full",
        "image_grid_pinpoints": PINPOINTS,
        "downsample_rate": "1/2",
        "deepstack_layer_map": [[-4, 5], [1, 2], [-1, 0]],
        "spatial_target_layers": [1, 3, 4, 6],
        "qformer_config": {"model_type": "blip_2_qformer", "intermediate_size": 40, "num_hidden_layers": 1},
    } | changes
    return lambda tokenizer: Granite4VisionForConditionalGeneration(
        Granite4VisionConfig(
            vision_config=VISION | (vision_config or {}),
            text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
            image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
            **settings,
        )
    )


def processor(rate="1/2", patch=8, extra=0, strategy="full"):
    square = {"height": 32, "width": 32}
    pictures = LlavaNextImageProcessorPil(size=square, crop_size=square, image_grid_pinpoints=PINPOINTS)
    return lambda tokenizer: Granite4VisionProcessor(
        pictures, tokenizer, patch, strategy, num_additional_image_tokens=extra, downsample_rate=rate
    )


def fused(state):
    """As Granite 4.0 has its feed-forward layers."""
    kept = {name.replace(".mlp.down_proj", ".shared_mlp.output_linear"): w for name, w in state.items() if LM in name}
    kept |= {name: w for name, w in state.items() if LM not in name}
    gates = [name for name in kept if name.endswith(".mlp.gate_proj.weight") and LM in name]
    for gate in gates:
        both = kept.pop(gate), kept.pop(gate.replace("gate_proj", "up_proj"))
        kept[gate.replace(".mlp.gate_proj", ".shared_mlp.input_linear")] = torch.cat(both)
    return kept


LM = "language_model."


def hybrid(config):
    own = {"model_type": "granitemoehybrid", "shared_intermediate_size": config["text_config"]["intermediate_size"]}
    text = config["text_config"] | own | {"intermediate_size": 4, "layer_types": ["attention"] * 7}
    return config | {"text_config": text}


BASE = Case(
    "granite4_vision",
    granite4_vision(),
    ("<image>",),
    processor(),
    (*TOWER_AND_DECODER, Spelling("granite-4.0", BEFORE, rework=fused, reword=hybrid)),
)


class TestGranite4Vision(VisionParity, RunnerParity):
    case = BASE


class TestClip(VisionParity):
    """A class token, several windows and queries, deeper projectors with fewer looks at the picture."""

    case = replace(
        BASE,
        name="granite4_vision: clip",
        model=granite4_vision(
            text_config={"num_attention_heads": 6, "num_key_value_heads": 3, "attention_bias": True, "mlp_bias": True},
            vision_config={"model_type": "clip_vision_model", "hidden_size": 128, "patch_size": 4},
            vision_feature_select_strategy="default",
            downsample_rate="2/4",
            deepstack_layer_map=[[2, 3]],
            spatial_vision_layer=1,
            spatial_target_layers=[6, 0, 2, 1],
            qformer_config={
                "model_type": "blip_2_qformer",
                "intermediate_size": 24,
                "num_hidden_layers": 3,
                "cross_attention_frequency": 2,
                "hidden_act": "relu",
            },
            tie_word_embeddings=True,
        ),
        processor=processor("2/4", 4, 1, "default"),
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"downsample_rate": "3/8"}, "downsample_rate is '3/8'"),
        ({"spatial_target_layers": [1, 3, 4, 7]}, r"layers \[5, 2, 0, 1, 3, 4, 7\], the decoder has 7"),
        ({"spatial_target_layers": [1, 3, 4, 5]}, r"layers \[5, 2, 0, 1, 3, 4, 5\]"),
        ({"use_spatial_sampling": False}, "use_spatial_sampling is False"),
    ],
)
def test_what_is_not_known_is_refused(changes, message, tmp_path):
    pair = Pair(BASE, tmp_path)
    with pytest.raises(CheckpointError, match=message):
        pair.respelt(Spelling("changed", (), reword=lambda config: config | changes))


def test_an_adapter_beside_the_weights_is_added(tmp_path):
    """As its authors publish it: names as in the reference's module, under PEFT's own prefix."""
    pair = Pair(BASE, tmp_path)
    name = "model.language_model.layers.1.self_attn.q_proj"
    layer = pair.reference.get_submodule(name)
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(4, layer.weight.shape[1], generator=generator)
    second = torch.randn(layer.weight.shape[0], 4, generator=generator) / 8
    beside = {f"base_model.model.{name}.lora_{part}.weight": value for part, value in (("A", first), ("B", second))}
    save_file(beside, pair.folder / "adapter_model.safetensors")
    (pair.folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 4, "lora_alpha": 8}))
    pictures = [tiny.picture("landscape")]
    before = pair.logits(BASE.one, pictures)
    with torch.no_grad():
        layer.weight += 2 * second @ first
    theirs = pair.logits(BASE.one, pictures)
    assert difference(Ours(pair.folder).logits(BASE.one, pictures), theirs) < TOLERANCE
    assert difference(before, theirs) > 100 * TOLERANCE

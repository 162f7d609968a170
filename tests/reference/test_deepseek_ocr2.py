"""DeepSeek-OCR 2 against transformers."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DeepseekOcr2Config, DeepseekOcr2ForConditionalGeneration
from transformers.models.deepseek_ocr2.image_processing_pil_deepseek_ocr2 import DeepseekOcr2ImageProcessorPil
from transformers.models.deepseek_ocr2.processing_deepseek_ocr2 import DeepseekOcr2Processor

from engine.api.errors import CheckpointError
from engine.models.decoders.deepseek import as_deepseek
from engine.models.layers.bicubic import smoothly_resized
from engine.models.names import rename
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference

TEXT = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "moe_intermediate_size": 20,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "n_routed_experts": 5,
    "n_shared_experts": 2,
    "num_experts_per_tok": 2,
    "mlp_layer_types": ["dense", "sparse", "sparse"],
    "rope_parameters": {"rope_type": "default", "rope_theta": 777.0},
    "bos_token_id": None,
    "eos_token_id": None,
}

SAM = {
    "hidden_size": 24,
    "mlp_dim": 32,
    "output_channels": 10,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 64,
    "patch_size": 8,
    "window_size": 3,
    "global_attn_indexes": [1],
    "downsample_channels": [12, 28],
}

ENCODER = {
    "hidden_size": 28,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}


def deepseek_ocr2(text_config=None, sam_config=None, encoder_config=None):
    def build(tokenizer):
        return DeepseekOcr2ForConditionalGeneration(
            DeepseekOcr2Config(
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config={
                    "sam_config": SAM | (sam_config or {}),
                    "encoder_config": ENCODER | {"vocab_size": 1} | (encoder_config or {}),
                },
                image_token_id=tokenizer.convert_tokens_to_ids("<image>"),
            )
        )

    return build


def processor(side, tile, patch=5.35):
    """`patch` is chosen to make the processor count 144 features a view, which is what the model then has."""
    pictures = DeepseekOcr2ImageProcessorPil(size={"height": side, "width": side}, tile_size=tile)
    return lambda tokenizer: DeepseekOcr2Processor(pictures, tokenizer, patch_size=patch, downsample_ratio=1)


BASE = Case(
    "deepseek_ocr2",
    deepseek_ocr2(),
    ("<image>",),
    processor(64, 60),
    one="<image>\nFree OCR. ",
    two="<image>\nAnd <image>\nthis. ",
)


class TestDeepseekOcr2(VisionParity):
    """Tiles of another size than the tower's."""

    case = BASE
    test_a_picture_in_every_spelling = None
    # MLX's CPU back end multiplies by chosen experts in float32 alone.
    test_bfloat16_is_as_near_as_the_references = None

    def test_tiles(self, pair):
        none = torch.zeros(0, 3, 60, 60)
        for name in self.case.pictures:
            _, (media,) = pair.ours.prompt(self.case.one, [tiny.picture(name)])
            theirs = pair.inputs(self.case.one, [tiny.picture(name)]).get("pixel_values_local", none).numpy()
            assert media.arrays["tiles"].shape == theirs.shape
            assert np.abs(media.arrays["tiles"] - theirs).max(initial=0) < 1e-5


MLX_NAMES = (
    ("model.sam_model.", "sam_model."),
    ("model.qwen2_model.model.model.", "vision_model.qwen2_encoder."),
    ("model.qwen2_model.query_768.weight", "vision_model.qwen2_encoder.query_768"),
    ("model.qwen2_model.query_1024.weight", "vision_model.qwen2_encoder.query_1024"),
    ("model.projector.", "projector."),
    ("model.view_seperator", "view_separator"),
    ("model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
)


def as_mlx_community_does(pair: Pair, folder: Path, **changes) -> Path:
    """Its authors' config, which leaves much to their code, and kernels with their channels last."""
    shutil.copytree(pair.folder, folder)
    said = json.loads((folder / "config.json").read_text())
    sam, text = said["vision_config"]["sam_config"], said["text_config"]
    keys = TEXT.keys() - {"mlp_layer_types", "rope_parameters"} | {"vocab_size"}
    config = {key: text[key] for key in keys} | {
        "model_type": "deepseekocr_2",
        "first_k_dense_replace": 1,
        "moe_layer_freq": 1,
        "topk_method": "greedy",
        "use_mla": False,
        "vision_config": {
            "image_size": sam["image_size"],
            "width": {
                "qwen2-0-5b": {"dim": 28},
                "sam_vit_b": {
                    "downsample_channels": [12, 1024],
                    "global_attn_indexes": sam["global_attn_indexes"],
                    "heads": sam["num_attention_heads"],
                    "layers": sam["num_hidden_layers"],
                    "width": sam["hidden_size"],
                },
            },
        },
    }
    config["vision_config"] |= {"model_name": "deepencoderv2"}
    (folder / "config.json").write_text(json.dumps(config | changes))
    tensors = rename(mx.load(str(folder / "model.safetensors")), MLX_NAMES)
    for name in [name for name in tensors if name.endswith("weight") and tensors[name].ndim == 4]:
        tensors[name] = tensors[name].transpose(0, 2, 3, 1)
    mx.save_safetensors(str(folder / "model.safetensors"), tensors)
    return folder


@pytest.mark.parametrize("name", ["deepseekocr_2", "deepseek_vl_v2"])
def test_as_mlx_community_keeps_it_and_as_its_authors_call_it(name, tmp_path):
    case = replace(
        BASE,
        model=deepseek_ocr2(
            {"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}},
            {"patch_size": 16, "output_channels": 256, "window_size": 14, "mlp_dim": 96},
            {"num_hidden_layers": 24, "intermediate_size": 4864},
        ),
    )
    pair = Pair(case, tmp_path)
    pictures = [tiny.picture("landscape")]
    ours = Ours(as_mlx_community_does(pair, tmp_path / "mlx", model_type=name))
    assert difference(ours.logits(case.one, pictures), pair.logits(case.one, pictures)) < TOLERANCE


def test_at_the_published_proportions(tmp_path):
    """The larger set of queries for the whole, the smaller for tiles, whose learned positions are resized."""
    case = replace(
        BASE,
        model=deepseek_ocr2(None, {"patch_size": 2, "image_size": 128, "window_size": 14, "num_attention_heads": 1}),
        processor=processor(128, 96, 8),
    )
    pair = Pair(case, tmp_path)
    pictures = [Image.fromarray(np.asarray(tiny.picture("landscape"))).resize((130, 60))]
    _, (media,) = pair.ours.prompt(case.one, pictures)
    assert media.feature_count == 2 * 144 + 256 + 1
    assert difference(pair.ours.logits(case.one, pictures), pair.logits(case.one, pictures)) < TOLERANCE


@pytest.mark.parametrize("size", [(5000, 1), (1, 3), (1, 1)])
def test_hairlines_and_dots(tmp_path, size):
    """The reference cannot scale a hairline; here one line of it is left."""
    ours = Pair(BASE, tmp_path).ours
    assert np.isfinite(ours.logits(BASE.one, [Image.new("RGB", size, "red")])).all()


@pytest.mark.parametrize("size", [(5, 9), (48, 48), (12, 3), (7, 7)])
def test_maps_are_resized_as_by_pytorch(size):
    features = np.random.default_rng(0).standard_normal((7, 8, 3)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(
        torch.tensor(features).permute(2, 0, 1)[None], size, mode="bicubic", antialias=True
    )[0].permute(1, 2, 0)
    assert np.abs(np.array(smoothly_resized(mx.array(features), *size)) - theirs.numpy()).max() < 1e-5


@pytest.mark.parametrize(
    "wrong",
    [
        {"routed_scaling_factor": 2.0},
        {"use_mla": True},
        {"topk_method": "group_limited_greedy", "n_group": 2},
        {"mlp_layer_types": ["sparse", "dense", "sparse"]},
    ],
)
def test_settings_not_known_are_refused(wrong):
    with pytest.raises(CheckpointError):
        as_deepseek(TEXT | wrong)

"""FastVLM in transformers' form, whose tower is timm's, and in the form of its authors."""

import json
import re
from dataclasses import replace

import pytest
import torch
from transformers import FastVlmConfig, FastVlmForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
from transformers.models.llava.processing_llava import LlavaProcessor

from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.spelling import Spelling, respell

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "model_type": "qwen2"
}

VISION = {
    "model_type": "timm_wrapper",
    "architecture": "fastvit_mci3",
    "hidden_size": 128,
    "model_args": {"inference_mode": True, "embed_dims": [4, 8, 16, 32, 64], "layers": [1, 2, 1, 2, 1]},
}

SQUARE = {"size": {"shortest_edge": 128}, "crop_size": {"height": 128, "width": 128}}
BLACK = {"image_mean": [0.0, 0.0, 0.0], "image_std": [1.0, 1.0, 1.0]}


def fast_vlm(text_config=None, **changes):
    def build(tokenizer):
        model = FastVlmForConditionalGeneration(
            FastVlmConfig(
                vision_config=VISION,
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
                **changes,
            )
        )
        generator = torch.Generator().manual_seed(1)
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                # A variance this small keeps what the convolutions see from drowning in their biases.
                buffer.copy_(0.05 * torch.rand(buffer.shape, generator=generator) + 0.01)
        return model

    return build


def processor(pictures=LlavaImageProcessorPil, **changes):
    settings = SQUARE | BLACK | {"do_pad": True} | changes
    return lambda tokenizer: LlavaProcessor(
        pictures(**settings), tokenizer, 64, vision_feature_select_strategy="full", num_additional_image_tokens=0
    )


BASE = Case("fast_vlm", fast_vlm(), ("<image>", "<|endoftext|>"), processor())


class TestPadded(VisionParity):
    case = BASE


class TestCropped(VisionParity):
    case = replace(
        BASE,
        name="fast_vlm, cropped, tied head",
        model=fast_vlm(
            {"num_attention_heads": 6, "num_key_value_heads": 3},
            multimodal_projector_bias=False,
            tie_word_embeddings=True,
        ),
        processor=processor(CLIPImageProcessorPil),
    )


def authors(state):
    """The names of a checkpoint of the authors, from those of timm."""
    starts = {"stages.0.blocks": 0}
    starts |= {f"stages.{number}.downsample": place for number, place in zip(range(1, 5), (1, 3, 5, 8), strict=True)}
    starts |= {f"stages.{number}.pos_emb": place for number, place in ((3, 6), (4, 9))}
    starts |= {f"stages.{number}.blocks": place for number, place in zip(range(1, 5), (2, 4, 7, 10), strict=True)}
    renamed = {}
    for name, tensor in state.items():
        stem = name.removeprefix("model.vision_tower.timm_model.")
        if stem != name:
            stem = re.sub(
                r"^stages\.\d\.(blocks|downsample|pos_emb)", lambda found: f"network.{starts[found[0]]}", stem
            )
            stem = re.sub(r"(network\.\d+\.proj\.0)\.reparam_conv", r"\1.lkb_reparam", stem)
            for old, new in (
                ("stem.", "patch_embed."),
                ("final_conv.", "conv_exp."),
                (".mlp.", ".convffn."),
                (".se.fc1.", ".se.reduce."),
                (".se.fc2.", ".se.expand."),
                (".gamma", ""),
            ):
                stem = stem.replace(old, new)
            name = f"model.vision_tower.vision_tower.model.{stem}"
        for old, new in (("linear_1.", "0."), ("linear_2.", "2.")):
            name = name.replace(f"model.multi_modal_projector.{old}", f"model.mm_projector.{new}")
        renamed[name.replace("model.language_model.", "model.")] = tensor
    return renamed | {"model.vision_tower.vision_tower.model.head.proj": torch.zeros(128, 16)}


def mlx_vlm(state):
    """The names and layouts that mlx-vlm makes of those."""
    renamed = {}
    for name, tensor in authors(state).items():
        if "vision_tower" in name:
            name = name.replace("model.vision_tower.vision_tower.model", "vision_tower.vision_model")
            name = name.replace("patch_embed", "patch_embed.blocks")
            if tensor.ndim == 4:
                tensor = tensor.movedim(1, -1)
            elif "layer_scale" in name:
                tensor = tensor.permute(1, 2, 0)
        elif "mm_projector" in name:
            name = name.removeprefix("model.")
        else:
            name = f"language_model.{name}"
        if not name.endswith("num_batches_tracked"):
            renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("names", [authors, mlx_vlm])
def test_the_authors_form(tmp_path, names):
    """A flat config, names of their own, and no token for a picture's place."""
    pair = Pair(BASE, tmp_path)
    spelling = Spelling("original", (), old_config=True, flat_config=True, rework=names)
    folder = respell(pair.reference.state_dict(), pair.folder, spelling, tmp_path / "original")
    config = json.loads((folder / "config.json").read_text()) | {
        "model_type": "llava_qwen2",
        "image_aspect_ratio": "pad",
        "mm_vision_tower": "mobileclip_l_128",
        "mm_projector_type": "mlp2x_gelu",
        "vision_config": {"model_args": VISION["model_args"]},
    }
    (folder / "config.json").write_text(json.dumps(config))
    if names is authors:
        (folder / "preprocessor_config.json").unlink()
    ours, pictures = Ours(folder), [tiny.picture("landscape")]
    assert difference(ours.logits(BASE.one, pictures), pair.logits(BASE.one, pictures)) < TOLERANCE

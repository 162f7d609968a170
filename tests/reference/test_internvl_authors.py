"""InternVL in the form its authors keep it in, and mlx-community after them, against transformers."""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import mlx.core as mx
import pytest
import torch
from safetensors.torch import save_file

from engine.api.errors import CheckpointError
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import Pair, VisionParity
from tests.reference.test_internvl import BASE, internvl

OUTSIDE = (
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.vision_tower.", "vision_model."),
    ("model.multi_modal_projector.layer_norm.", "mlp1.0."),
    ("model.multi_modal_projector.linear_1.", "mlp1.1."),
    ("model.multi_modal_projector.linear_2.", "mlp1.3."),
)

INSIDE = (
    ("cls_token", "class_embedding"),
    ("position_embeddings", "position_embedding"),
    ("patch_embeddings.projection", "patch_embedding"),
    ("encoder.layer.", "encoder.layers."),
    ("attention.projection_layer", "attn.proj"),
    ("attention.q_proj", "attn.qkv"),
    ("attention.", "attn."),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("lambda_", "ls"),
)


def authors_tensors(state: Mapping[str, torch.Tensor], mlx: bool) -> Iterator[tuple[str, torch.Tensor]]:
    """By the names of the authors' form, which has a tower's queries, keys and values in one."""
    for name, tensor in state.items():
        if name.startswith("model.vision_tower.") and (".k_proj" in name or ".v_proj" in name):
            continue
        old, new = next(pair for pair in OUTSIDE if name.startswith(pair[0]))
        renamed = new + name.removeprefix(old)
        if new == "vision_model.":
            if ".q_proj" in name:
                tensor = torch.cat([state[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
            for old, new in INSIDE:
                renamed = renamed.replace(old, new)
        if mlx and renamed.endswith("patch_embedding.weight"):
            tensor = tensor.movedim(1, -1)
        yield renamed, tensor.contiguous()


def as_its_authors_do(pair: Pair, folder: Path, mlx: bool = False) -> Path:
    """The checkpoint in the form of OpenGVLab's repositories, or as mlx-community converts that."""
    shutil.copytree(pair.folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((pair.folder / "config.json").read_text())
    vision = config["vision_config"] | {"model_type": "intern_vit_6b", "image_size": 32, "patch_size": 8}
    vision |= {"qkv_bias": vision.pop("attention_bias"), "qk_normalization": vision.pop("use_qk_norm")}
    chat = {
        "model_type": "internvl_chat",
        "auto_map": {"AutoModel": "modeling_internvl_chat.InternVLChatModel"},
        "vision_config": vision,
        "text_config" if mlx else "llm_config": config["text_config"],
        "downsample_ratio": 0.5,
        "dynamic_image_size": True,
        "force_image_size": 32,
        "max_dynamic_patch": 12,
        "ps_version": "v2",
        "select_layer": config["vision_feature_layer"],
        "use_thumbnail": True,
    }
    (folder / "config.json").write_text(json.dumps(chat))
    said = json.loads((pair.folder / "preprocessor_config.json").read_text())
    values = {"size": 448, "do_center_crop": True, "image_mean": said["image_mean"], "image_std": said["image_std"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(values))
    save_file(dict(authors_tensors(pair.reference.state_dict(), mlx)), folder / "model.safetensors")
    return folder


class TestAuthorsForm(VisionParity):
    """With a decoder whose waves lengthen beyond its first context, as InternVL 3 has it."""

    case = replace(
        BASE,
        name="internvl_chat",
        model=internvl(
            {
                "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 777.0},
                "max_position_embeddings": 128,
            },
            {"attention_bias": True, "use_qk_norm": True},
            vision_feature_layer=-2,
        ),
    )
    test_a_picture_in_every_spelling = None

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory) -> Pair:
        pair = Pair(self.case, tmp_path_factory.mktemp("authors"))
        pair.ours = Ours(as_its_authors_do(pair, pair.root / "chat"))
        return pair

    def test_as_mlx_community_converts_it(self, pair, row):
        ours, pictures = Ours(as_its_authors_do(pair, pair.root / "mlx", mlx=True)), [tiny.picture("landscape")]
        self.hold(row, ours.logits(self.case.one, pictures), pair.logits(self.case.one, pictures))

    def test_beyond_the_first_context(self, pair, row):
        text = self.case.text * 12
        self.hold(row, pair.ours.logits(text, []), pair.logits(text, []))

    def test_rows_of_a_batch_have_waves_of_their_own(self, pair):
        rope, drawn = pair.ours.model.language_model.layers[0].self_attn.rope, mx.random.normal((3, 2, 5, 12))
        offsets = (3, 126, 500)
        alone = mx.concatenate([rope(drawn[row : row + 1], offset) for row, offset in enumerate(offsets)])
        assert mx.abs(rope(drawn, mx.array(offsets)) - alone).max() < 1e-4

    @pytest.mark.parametrize("wrong", [{"ps_version": "v1"}, {"force_image_size": 64}, {"pad2square": True}])
    def test_settings_not_known_are_refused(self, pair, tmp_path, wrong):
        folder = as_its_authors_do(pair, tmp_path / "wrong")
        config = json.loads((folder / "config.json").read_text()) | wrong
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(CheckpointError):
            Ours(folder)

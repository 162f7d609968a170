"""One checkpoint in the spellings that are found: of transformers 5 and 4, and of mlx-community.

A case names the beginnings of tensors; what every case has in common is done here.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from engine.models.names import Prefixes

CONVOLUTIONS = ("patch_embedding.weight", "patch_embed.proj.weight", "patch_conv.weight")
"""How the names end whose layout is MLX's own in its checkpoints."""


@dataclass(frozen=True)
class Spelling:
    name: str
    prefixes: Prefixes
    """From the names in the reference's own module."""
    old_config: bool = False
    """`rope_theta` and `rope_scaling` instead of `rope_parameters`."""
    mlx_layout: bool = False
    """Convolutions as (out, height, width, in), those over time as (out, time, height, width, in)."""
    flat_config: bool = False
    """The decoder's config not in a part of its own but at the top."""
    rework: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]] | None = None
    """What else becomes of the tensors, under the names in the reference's own module still."""
    reword: Callable[[dict], dict] | None = None
    """What else becomes of the config."""


def kernels_last(state: Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    """A `rework`: the kernels of all convolutions over pictures with their input channels last, as MLX has them."""
    is_kernel = {name: name.endswith("weight") and tensor.ndim == 4 for name, tensor in state.items()}
    return {name: tensor.movedim(1, -1) if is_kernel[name] else tensor for name, tensor in state.items()}


BEFORE: Prefixes = (
    ("model.vision_tower.", "vision_tower.vision_model."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)

TOWER_AND_DECODER = (
    Spelling("transformers-5", ()),
    Spelling("transformers-4", BEFORE, old_config=True),
    Spelling("mlx-community", BEFORE, old_config=True, mlx_layout=True),
)
"""Of families that `engine.models.names.TOWER_AND_DECODER` is for."""


def respell(state: Mapping[str, torch.Tensor], folder: Path, spelling: Spelling, target: Path) -> Path:
    """Write the checkpoint of `folder`, whose module holds `state`, to `target` in another spelling."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((folder / "config.json").read_text())
    if config.get("tie_word_embeddings"):
        state = {name: tensor for name, tensor in state.items() if not name.startswith("lm_head.")}
    if spelling.rework is not None:
        state = spelling.rework(state)
    tensors = {}
    for name, tensor in state.items():
        old, new = next(((old, new) for old, new in spelling.prefixes if name.startswith(old)), ("", ""))
        if spelling.mlx_layout and name.endswith(CONVOLUTIONS):
            tensor = tensor.movedim(1, -1)
        tensors[new + name.removeprefix(old)] = tensor.contiguous()
    save_file(tensors, target / "model.safetensors", metadata={"format": "mlx" if spelling.mlx_layout else "pt"})
    if spelling.old_config:
        for part in (config, config.get("text_config", {})):
            _spell_rope_as_before(part)
        if spelling.flat_config:
            config = config.pop("text_config") | config
    if spelling.reword is not None:
        config = spelling.reword(config)
    (target / "config.json").write_text(json.dumps(config))
    return target


def _spell_rope_as_before(config: dict) -> None:
    parameters = config.pop("rope_parameters", None)
    if parameters is None:
        return
    if parameters.keys() >= {"full_attention", "sliding_attention"}:
        config["rope_local_base_freq"] = parameters["sliding_attention"]["rope_theta"]
        parameters = dict(parameters["full_attention"])
    config["rope_theta"] = parameters.pop("rope_theta")
    if "partial_rotary_factor" in parameters:
        config["partial_rotary_factor"] = parameters.pop("partial_rotary_factor")
    if "mrope_section" in parameters:
        config["rope_scaling"] = {"type": "mrope", "mrope_section": parameters["mrope_section"]}
    elif parameters.get("rope_type", "default") != "default":
        config["rope_scaling"] = parameters

"""The `config.json` of a converted model: its source's, amended for what became of the weights.

Knows nothing of tensors' contents. The `quantization` block is mlx-lm's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.api.request import ConvertModel
from engine.loading.config import TEXT_KEYS, text_config
from engine.loading.packing import Packings
from engine.loading.source_names import SourceNames, in_order
from engine.loading.unbound import Unbound
from engine.models.decoders.text import PREFIX

_BLOCKS = ("quantization", "quantization_config")
"""mlx-lm reads the first, the Hub and older programs the second."""
_FLOAT_KEYS = ("dtype", "torch_dtype")
_OLDER_ROPE_KEYS = ("rope_theta", "rope_scaling", "partial_rotary_factor", "rope_local_base_freq")


def converted_config(
    folder: Path, request: ConvertModel, unbound: Unbound, packings: Packings | None, names: SourceNames
) -> dict[str, Any]:
    """`packings` are those of layers that were not packed before; `None` where there are none."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    parts = [config, *(config[key] for key in TEXT_KEYS if isinstance(config.get(key), dict))]
    if request.dequantize:
        for part in parts:
            for key in _BLOCKS:
                part.pop(key, None)
    if request.float_type is not None:
        _spell_float_type(config, request.float_type.value)
        config.setdefault("torch_dtype", request.float_type.value)
    _spell_rope(parts[-1], text_config(unbound.plan.config))
    arguments = getattr(unbound.model.language_model, "args", None)
    if unbound.plan.config["tie_word_embeddings"] and not getattr(arguments, "tie_word_embeddings", True):
        # Its head is not what it was tied to; other programs believe the config.
        for part in parts:
            part["tie_word_embeddings"] = False
    if packings is not None:
        config |= dict.fromkeys(_BLOCKS, _block(packings, names, unbound))
    return config


def _spell_rope(decoder: dict[str, Any], complete: Mapping[str, Any]) -> None:
    """Add the names from before transformers 5: mlx-vlm and some of mlx-lm know no others, and take 10000."""
    if decoder.get("rope_parameters"):
        older = {key: complete[key] for key in _OLDER_ROPE_KEYS if complete.get(key) is not None}
        decoder |= {key: value for key, value in older.items() if decoder.get(key) is None}


def _spell_float_type(config: dict[str, Any], name: str) -> None:
    for key, value in config.items():
        if isinstance(value, dict):
            _spell_float_type(value, name)
        elif key in _FLOAT_KEYS:
            config[key] = name


def _block(packings: Packings, names: SourceNames, unbound: Unbound) -> dict[str, Any]:
    """What `config.json` says: how most layers are packed, and by name those that are packed otherwise or not at all,
    among them all of towers and projectors."""
    block: dict[str, Any] = dict(packings.shared)
    special = {path: packing for path, packing in packings.layers.items() if packing != packings.shared}
    for path, said in in_order(special | dict.fromkeys((*packings.plain, *packings.uneven), False)):
        block |= dict.fromkeys(names.aliases(PREFIX + path), said)
    for path, layer in in_order(dict(unbound.model.named_modules())):
        if hasattr(layer, "to_quantized") and not path.startswith(PREFIX):
            block[names.written.get(f"{path}.weight", path).removesuffix(".weight")] = False
    return block

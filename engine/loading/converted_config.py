"""The `config.json` of a converted model: its source's, amended for what became of the weights.

Knows nothing of tensors' contents. The `quantization` block is mlx-lm's.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.api.conversion import ConvertModel
from engine.loading.config import TEXT_KEYS, normalise, text_config
from engine.loading.packing import Packings
from engine.loading.source_names import HEAD, SourceNames, in_order
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
    parts = _parts(config)
    if request.dequantize:
        for part in parts:
            for key in _BLOCKS:
                part.pop(key, None)
    if request.float_type is not None:
        _spell_float_type(config, request.float_type.value)
        config.setdefault("torch_dtype", request.float_type.value)
    _spell_rope(config, text_config(unbound.plan.config))
    if unbound.plan.config["tie_word_embeddings"] and any(HEAD in name.split(".") for name in names.written):
        # The head is not what it was tied to; other programs believe the config.
        for part in parts:
            part["tie_word_embeddings"] = False
    if packings is not None:
        config |= dict.fromkeys(_BLOCKS, _block(packings, names, unbound))
    return config


def _parts(config: dict[str, Any]) -> list[dict[str, Any]]:
    """The whole and the decoder's."""
    return [config, *(config[key] for key in TEXT_KEYS if isinstance(config.get(key), dict))]


def _spell_rope(config: dict[str, Any], complete: Mapping[str, Any]) -> None:
    """Add the names from before transformers 5: mlx-vlm and some of mlx-lm know no others, and take 10000. Not where
    the new ones would then be read in another way."""
    *_, decoder = _parts(config)
    parameters = decoder.get("rope_parameters") or {}
    if not parameters or decoder.get("rope_theta") is not None:
        return
    # Of layers that differ a scaling cannot say which it is of.
    differ = any(isinstance(value, Mapping) for value in parameters.values())
    keys = [key for key in _OLDER_ROPE_KEYS if not (differ and key == "rope_scaling")]
    added = {key: complete[key] for key in keys if complete.get(key) is not None}
    decoder |= added
    if _without_type(text_config(normalise(config))["rope_parameters"]) != _without_type(complete["rope_parameters"]):
        for key in added:
            del decoder[key]


def _without_type(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The older name of the `rope_type` is no setting of its own."""
    return {key: value for key, value in parameters.items() if key != "type"}


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

"""The rotary position settings of a config, under every name they are read by.

Knows nothing of files. Sources: transformers `modeling_rope_utils.py`, mlx-lm `models/rope_utils.py`.
"""

import math
from collections.abc import Mapping
from typing import Any

GLOBAL, LOCAL = "full_attention", "sliding_attention"

# Further names for one value, read by single mlx-lm modules: name -> (layer type, key).
_OTHER_NAMES: dict[str, dict[str, tuple[str, str]]] = {
    "gpt_neox": {
        "rotary_emb_base": (GLOBAL, "rope_theta"),
        "rotary_pct": (GLOBAL, "partial_rotary_factor"),
    },
    "mimo_v2_flash": {"swa_rope_theta": (LOCAL, "rope_theta")},
}


def spell_rope(config: dict[str, Any], standard: Mapping[str, Any] | None = None) -> None:
    """Give `config` its rotary settings as `rope_parameters` (transformers 5) and as `rope_theta`, `rope_scaling`,
    `partial_rotary_factor` and `rope_local_base_freq` (what mlx-lm reads, and else takes 10000 for).

    `standard` is `rope_parameters` as transformers completed them, where it did. Nothing happens to a config without
    rotary settings.
    """
    parameters = dict(standard) if standard else _gather(config)
    if not parameters:
        return
    by_layer = {key: value for key, value in parameters.items() if isinstance(value, Mapping)}
    whole = by_layer.get(GLOBAL) or next(iter(by_layer.values()), parameters)
    local = by_layer.get(LOCAL) or {}
    config["rope_parameters"] = parameters
    if "rope_theta" in whole:
        config["rope_theta"] = whole["rope_theta"]
    config["rope_scaling"] = _scaling(whole)
    if "partial_rotary_factor" in whole:
        config["partial_rotary_factor"] = whole["partial_rotary_factor"]
    if "rope_theta" in local:
        config["rope_local_base_freq"] = local["rope_theta"]
    for name, (layer, key) in _OTHER_NAMES.get(str(config.get("model_type")), {}).items():
        source = local if layer == LOCAL else whole
        if key in source:
            config[name] = source[key]


def _gather(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a model type that transformers does not know, as the file spells them."""
    written = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
    if any(isinstance(value, Mapping) for value in written.values()):
        return written
    for key in ("rope_theta", "partial_rotary_factor"):
        if config.get(key) is not None:
            written.setdefault(key, config[key])
    if written:
        written.setdefault("rope_type", written.get("type", "default"))
    return written


def _scaling(parameters: Mapping[str, Any]) -> dict[str, Any] | None:
    """`rope_scaling` as mlx-lm takes it, `None` for plain rotary embeddings."""
    kind = parameters.get("rope_type") or parameters.get("type") or "default"
    if kind == "default" and not parameters.keys() & {"mrope_section", "alpha"}:
        return None
    scaling = {key: value for key, value in parameters.items() if key != "rope_theta"}
    # Modules ask for either name; a file that has both ("mrope" beside "default") says more with the older one.
    scaling["type"] = parameters.get("type") or kind
    scaling["rope_type"] = kind
    if isinstance(scaling.get("factor"), int):
        scaling["factor"] = float(scaling["factor"])
    if kind == "yarn":
        _spell_yarn(scaling)
    return scaling


def _spell_yarn(scaling: dict[str, Any]) -> None:
    """mlx-lm derives YaRN's attention factor from `mscale`; an explicit one becomes the `mscale` that gives it."""
    wanted, factor = scaling.get("attention_factor"), scaling.get("factor") or 1.0
    if wanted is not None and factor > 1:
        scaling["mscale"] = (wanted - 1) / (0.1 * math.log(factor))
        scaling["mscale_all_dim"] = 0

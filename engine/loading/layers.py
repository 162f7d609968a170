"""How decoder layers differ: transformers 5 lists them, some mlx-lm modules want a period or one number for a kind.

Knows nothing of files.
"""

from typing import Any

from engine.api.errors import CheckpointError

FULL = "full_attention"

# Their mlx-lm modules compute each layer's kind from `sliding_window_pattern` alone.
_READ_PERIOD_ONLY = frozenset(("gemma3_text", "cohere2"))

# Their mlx-lm module takes these as numbers for all layers that look at everything.
_OWN_NUMBERS = {"head_dim": "global_head_dim", "num_key_value_heads": "num_global_key_value_heads"}
_OWN_IN_FULL_LAYERS = frozenset(("gemma4_text", "gemma4_unified_text"))


def spell_layers(config: dict[str, Any]) -> None:
    """Add the `sliding_window_pattern` that `layer_types` stand for, where the file leaves it out, and what
    `per_layer_config` says of layers without a window.

    Raises `CheckpointError` when the list has no period and the module that will run the model needs one, or when
    single layers have numbers of their own that it cannot be told.
    """
    if config.get("model_type") in _OWN_IN_FULL_LAYERS and "per_layer_config" in config:
        _spell_full_layers(config)
    kinds = config.get("layer_types")
    if not kinds or FULL not in kinds or config.get("sliding_window_pattern") is not None:
        return
    period = kinds.index(FULL) + 1
    if all((kind == FULL) == ((index + 1) % period == 0) for index, kind in enumerate(kinds)):
        config["sliding_window_pattern"] = period
    elif config.get("model_type") in _READ_PERIOD_ONLY:
        raise CheckpointError(
            f"The layer_types of this {config['model_type']} follow no fixed period, which is not supported.",
            "Choose another version of the model.",
        )


def _spell_full_layers(config: dict[str, Any]) -> None:
    own = {int(layer): numbers for layer, numbers in config["per_layer_config"].items()}
    full = [layer for layer, kind in enumerate(config["layer_types"]) if kind == FULL]
    numbers = {key: config[key] for key in _OWN_NUMBERS} | own.get(full[-1] if full else -1, {})
    differ = own.keys() - full or any({**numbers, **own.get(layer, {})} != numbers for layer in full)
    # The module reads the second number only where values are keys.
    unread = numbers["num_key_value_heads"] != config["num_key_value_heads"] and not config.get("attention_k_eq_v")
    if differ or unread or numbers.keys() - _OWN_NUMBERS:
        raise CheckpointError(
            f"The per_layer_config of this {config['model_type']} gives single layers numbers of their own, {own}, "
            "which is not supported.",
            "Choose another version of the model.",
        )
    config.update({name: numbers[key] for key, name in _OWN_NUMBERS.items()})

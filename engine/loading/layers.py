"""Which decoder layers look at a window only: transformers 5 lists them, some mlx-lm modules want the period.

Knows nothing of files.
"""

from typing import Any

from engine.api.errors import CheckpointError

FULL = "full_attention"

# Their mlx-lm modules compute each layer's kind from `sliding_window_pattern` alone.
_READ_PERIOD_ONLY = frozenset(("gemma3_text", "cohere2"))


def spell_layers(config: dict[str, Any]) -> None:
    """Add the `sliding_window_pattern` that `layer_types` stand for, where the file leaves it out.

    Raises `CheckpointError` when the list has no period and the module that will run the model needs one.
    """
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

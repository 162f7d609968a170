"""DeepSeek's decoder with plain attention and experts, as the readers of documents have it, on mlx-lm's.

Knows nothing of pictures. mlx-lm has what DeepSeek-MoE (arXiv 2401.06066) was first; what came later is refused.
"""

from engine.api.errors import CheckpointError
from engine.models.base import Config

KNOWN = {
    "routed_scaling_factor": 1.0,
    "hidden_act": "silu",
    "mlp_bias": False,
    "use_mla": False,
    "scoring_func": "softmax",
    "norm_topk_prob": False,
    "rope_scaling": None,
}


def as_deepseek(config: Config) -> dict:
    """The text config for `build_decoder`. Raises `CheckpointError` for settings that mlx-lm's module does not have."""
    for key, value in KNOWN.items():
        if config.get(key, value) != value:
            raise CheckpointError(f"The text config's {key} is {config[key]!r}; known is {value!r}.")
    if config.get("topk_method", "greedy") != "greedy" and (config.get("n_group") or 1) > 1:
        raise CheckpointError(f"Experts chosen by {config['topk_method']!r} in groups are not known here.")
    kinds = config.get("mlp_layer_types")
    if kinds is None:
        return {**config, "model_type": "deepseek"}
    dense = kinds.index("sparse") if "sparse" in kinds else len(kinds)
    if "dense" in kinds[dense:]:
        raise CheckpointError(f"Dense layers between others are not known here: {kinds}.")
    return {**config, "model_type": "deepseek", "first_k_dense_replace": dense, "moe_layer_freq": 1}

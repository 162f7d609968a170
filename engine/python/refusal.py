"""Keyword arguments that users of mlx-vlm know and that are not honoured here: refused by name, never ignored.

A value that asks for nothing passes. Knows nothing of the arguments that are honoured.
"""

from collections.abc import Mapping
from typing import Any

from engine.api.errors import RequestError

Asks = Mapping[str, tuple[Any, ...]]
"""Each name with the values that ask for nothing."""

NOTHING = (None,)
OFF = (None, False)
EMPTY = (None, [], ())

OF_LOADING: Asks = {
    "lazy": OFF,
    "strict": (None, True),
    "trust_remote_code": OFF,
    "force_download": OFF,
    "quantize_activations": OFF,
}
OF_GENERATING: Asks = {
    "adapter_path": NOTHING,
    "audio": EMPTY,
    "draft_model": NOTHING,
    "enable_thinking": OFF,
    "eos_tokens": NOTHING,
    "kv_bits": NOTHING,
    "kv_group_size": NOTHING,
    "kv_quant_scheme": (None, "uniform"),
    "logits_processors": NOTHING,
    "max_kv_size": NOTHING,
    "prefill_step_size": NOTHING,
    "prompt_cache": NOTHING,
    "prompt_cache_state": NOTHING,
    "sampler": NOTHING,
    # Control tokens are never part of the answer, whether they are asked for or not.
    "skip_special_tokens": (None, False, True),
    "stopping_criteria": NOTHING,
    "vision_cache": NOTHING,
}
OF_BATCHES: Asks = {"group_by_shape": (None, False, True), "track_image_sizes": (None, False, True)}

_INSTEAD = {
    "adapter_path": "Give it to load.",
    "draft_model": "Give it to load.",
    "enable_thinking": "Give it to apply_chat_template.",
    "kv_bits": "Give it to load.",
    "kv_group_size": "Give it to load.",
    "kv_quant_scheme": "Give it to load.",
    "max_kv_size": "Give it to load.",
    "prefill_step_size": "Give it to load.",
    "eos_tokens": "stop=[...] ends the answer at a text.",
    "trust_remote_code": "A checkpoint never runs its own code here.",
}


def refuse(function: str, given: Mapping[str, Any], known: Asks) -> None:
    """Raises `TypeError` for a name nobody knows, `RequestError` for one that asks for what is not built."""
    for name, value in given.items():
        if name not in known:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        if not any(value is nothing or value == nothing for nothing in known[name]):
            hint = _INSTEAD.get(name, "Leave it out.")
            raise RequestError(f"{function}() cannot honour {name} yet.", hint, code="unsupported_option")

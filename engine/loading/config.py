"""A checkpoint's `config.json`, read and brought to the one spelling that families and mlx-lm's modules understand.

Knows nothing of weights. Never runs a checkpoint's code: `auto_map` is ignored, `model_file` refused.
"""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError
from engine.loading.florence2 import spell_florence2
from engine.loading.layers import spell_layers
from engine.loading.quiet import quiet_transformers
from engine.loading.rope import spell_rope

TEXT_KEYS = ("text_config", "language_config", "llm_config")
"""Where composite models keep their decoder's config."""

# What only a transformers model object cares for.
_NOISE = frozenset(
    (
        "_name_or_path",
        "chunk_size_feed_forward",
        "id2label",
        "label2id",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "transformers_version",
    )
)
_OURS = frozenset(("auto_map", "quantization", "quantization_config"))
_FIRST_NAMES = {"phi4mm": "phi4_multimodal"}
_NOT_FINITE = {"Infinity": float("inf"), "-Infinity": float("-inf"), "NaN": float("nan")}


def read_json(path: Path) -> dict[str, Any]:
    """One JSON object of a checkpoint. Raises `CheckpointError` when it is missing, torn or not an object."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_hook=_untag)
    except FileNotFoundError as error:
        raise CheckpointError(
            f"{path.parent} has no {path.name}.", "Choose the folder that holds a model's config.json and weights."
        ) from error
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}.", "The copy or download is damaged; get the file again."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a JSON object.", "Get the file again.")
    return content


def _untag(value: dict[str, Any]) -> Any:
    """transformers writes floats that JSON has no word for as {"__float__": "Infinity"}."""
    if len(value) == 1 and "__float__" in value:
        return _NOT_FINITE.get(value["__float__"], value)
    return value


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` as it stands. Raises `CheckpointError` when it is missing, torn, or names no model type."""
    config = read_json(folder / "config.json")
    if not isinstance(config.get("model_type"), str):
        raise CheckpointError(
            f"{folder / 'config.json'} names no model_type, so what the model is cannot be told.",
            "Choose a model folder in the format of the Hugging Face Hub.",
        )
    return config


def refuse_code(raw: Mapping[str, Any], folder: Path) -> None:
    """Raises `CheckpointError` for a checkpoint whose architecture is Python code that comes with it."""
    if raw.get("model_file") is not None:
        raise CheckpointError(
            f"{folder.name} can only be loaded by running its own code, {raw['model_file']!r} (model_file).",
            "A model never runs code here. Choose a version of it without that file.",
        )


def custom_code(raw: Mapping[str, Any]) -> str:
    """The code a checkpoint names for itself, such as "modeling_x.XForCausalLM"; empty when there is none."""
    auto_map = raw.get("auto_map")
    if not isinstance(auto_map, Mapping):
        return ""
    named = auto_map.get("AutoModelForCausalLM") or next(iter(auto_map.values()), "")
    return str(named)


def normalise(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The same config in one form, whichever of transformers 4, transformers 5 and mlx-lm wrote it.

    Keys that were left out get the defaults of their `model_type`; each config with rotary settings has them as
    `rope_parameters` and as the `rope_theta`, `rope_scaling` and so on that mlx-lm reads; `dtype` is the only name of
    the dtype; `tie_word_embeddings` at the top and in the text config agree.
    """
    raw = _with_text_config(spell_florence2(_own_type(raw)))
    if is_pixtral(raw):
        config = _completed({**raw, "model_type": "llava"}) | {"model_type": "pixtral"}
    else:
        config = _completed(raw)
    config["tie_word_embeddings"] = _is_tied(raw, config)
    if (key := text_key(config)) is not None:
        config[key]["tie_word_embeddings"] = config["tie_word_embeddings"]
    return config


def _own_type(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """`raw` under a type of its own where its authors gave it that of another model: DeepSeek-OCR 2 calls itself
    DeepSeek-VL 2, whose tower it has not."""
    vision = raw.get("vision_config")
    tower = vision.get("model_name") if isinstance(vision, Mapping) else None
    is_ocr = raw.get("model_type") == "deepseek_vl_v2" and tower == "deepencoderv2"
    return {**raw, "model_type": "deepseekocr_2"} if is_ocr else raw


def is_pixtral(raw: Mapping[str, Any]) -> bool:
    """Whether this is Pixtral, which transformers completes as the LLaVA that it says it is; mlx-community calls the
    whole by the name that transformers has for the tower alone."""
    vision = raw.get("vision_config")
    tower = vision.get("model_type") if isinstance(vision, Mapping) else None
    return raw.get("model_type") in ("llava", "pixtral") and tower == "pixtral"


def _with_text_config(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """`raw` with its decoder's settings in the part where transformers looks for them; some of the first checkpoints
    of a family have them at the top, and would get all of the defaults."""
    if text_key(raw) is not None or "num_hidden_layers" not in raw:
        return raw
    key = text_key(_defaults(raw))
    if key is None:
        return raw
    whole = ("model_type", "architectures", "quantization", "transformers_version")
    own = {name: value for name, value in raw.items() if name not in whole and not name.endswith("_config")}
    # Rotary settings are the decoder's alone, and transformers warns of those it finds elsewhere.
    return {name: value for name, value in raw.items() if not name.startswith("rope_")} | {key: own}


def text_key(config: Mapping[str, Any]) -> str | None:
    """Where the decoder's config lies; `None` when the config itself is that."""
    return next((key for key in TEXT_KEYS if isinstance(config.get(key), Mapping)), None)


def text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The decoder's own config, which is the whole one for text-only models."""
    key = text_key(config)
    return config if key is None else config[key]


def _completed(raw: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """`raw` over `defaults`, its parts likewise; the parent's class knows what its parts are, so its word is taken."""
    defaults = _defaults(raw) if defaults is None else defaults
    merged: dict[str, Any] = {}
    for key, default in {**raw, **defaults}.items():
        value = raw.get(key)
        if key.endswith("_config") and key not in _OURS and isinstance(value or default, Mapping):
            known = key in defaults and isinstance(default, Mapping)
            merged[key] = _completed(value or {}, default if known else None)
        elif value is not None:
            merged[key] = copy.deepcopy(value)
        elif key in raw or key not in _NOISE:
            merged[key] = default
    if (dtype := merged.pop("torch_dtype", None)) is not None:
        merged["dtype"] = merged.get("dtype") or dtype
    spell_rope(merged, defaults.get("rope_parameters"))
    spell_layers(merged)
    return merged


def _defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The config as transformers' own class of this model type completes it; empty for types it has not."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CONFIG_MAPPING

    # Some of the first checkpoints of a family have a hyphen in its name, or another name.
    said = str(raw.get("model_type"))
    names = (said, said.replace("-", "_"), _FIRST_NAMES.get(said))
    model_type = next((name for name in names if name in CONFIG_MAPPING), None)
    if model_type is None:
        return {}
    known = {key: copy.deepcopy(value) for key, value in raw.items() if key not in _OURS}
    try:
        with quiet_transformers():
            return CONFIG_MAPPING[model_type].from_dict(known).to_dict()
    except (StrictDataclassError, ValueError, TypeError, KeyError, AttributeError) as error:
        if text_key(raw) is None:
            # Some text models use a known model_type with a layout of their own, which mlx-lm reads and transformers
            # does not. What then misfits is named when the module is built and when the weights are bound.
            return {}
        reason = str(error.__cause__ or error).strip().splitlines()[-1].strip()
        raise CheckpointError(
            f"The config.json of this {raw['model_type']} contradicts itself: {reason}", "Get the file again."
        ) from error


def _is_tied(raw: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """transformers 5 ties by the top-level value, transformers 4 by the text config's; either may be left out."""
    tied = bool(config.get("tie_word_embeddings", False))
    key = text_key(raw)
    said_inside = raw[key].get("tie_word_embeddings") if key is not None else None
    if said_inside is None:
        return tied
    return bool(said_inside) or bool(raw.get("tie_word_embeddings"))

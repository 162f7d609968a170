"""A model's module and the tensors that belong into it, both made ready and not joined yet: nothing has been read.

Knows nothing of devices and tokenizers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from engine.api.errors import CheckpointError
from engine.loading import fp8
from engine.loading.config import custom_code, normalise, read_config, refuse_code, text_config
from engine.loading.merged_adapter import merge_adapter
from engine.loading.quantize import packings, quantization_of, renames
from engine.loading.weights import open_weights
from engine.models.base import Family, VisionLanguageModel
from engine.models.decoders.text import PREFIX
from engine.models.registry import find_family


@dataclass(frozen=True, slots=True)
class Plan:
    """What the config alone tells."""

    config: dict[str, Any]
    family: Family
    quantization: dict[str, Any] | None
    note: str

    def build(self) -> VisionLanguageModel:
        try:
            return self.family.build(self.config)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(
                f"The config.json of this {self.config['model_type']} cannot be used: {error!r}.", "Get the file again."
            ) from error

    def weights(self, folder: Path) -> dict[str, mx.array]:
        if self.family.open_weights is not None:
            return self.family.open_weights(folder, self.config)
        weights = open_weights(folder)
        block = self.config.get("quantization_config") or text_config(self.config).get("quantization_config") or {}
        if block.get("quant_method") == fp8.METHOD:
            weights = fp8.unpack_fp8(weights, block)
        return merge_adapter(folder, weights)


@dataclass(frozen=True, slots=True)
class Unbound:
    plan: Plan
    model: VisionLanguageModel
    found: dict[str, mx.array]
    """Lazy, by the names in the files."""
    weights: dict[str, mx.array]
    """Lazy, by the names in the module."""
    packed: Mapping[str, dict[str, Any]]
    """How each layer is packed that is, by its path in the module."""
    parameters: int
    """Number of weights, before packing."""
    has_senses: bool
    """Whether there are weights of anything but a text decoder."""


def read_plan(folder: Path) -> Plan:
    """Raises `CheckpointError` for a model that is not known here, or wants to run code of its own."""
    raw = read_config(folder)
    refuse_code(raw, folder)
    config, code = normalise(raw), custom_code(raw)
    try:
        family = find_family(config)
    except CheckpointError as error:
        if not code:
            raise
        raise CheckpointError(
            f"{error.message} It could only be loaded by running its own code, {code}, which is never done.", error.hint
        ) from error
    note = f"The checkpoint's own code, {code}, was ignored." if code else ""
    return Plan(config, family, quantization_of(config), note)


def open_model(folder: Path) -> Unbound:
    """Raises `CheckpointError` for what is missing, damaged or does not belong together."""
    plan = read_plan(folder)
    model = plan.build()
    found = plan.weights(folder)
    weights = sanitized(model, found)
    block = plan.quantization
    packed = packings(model, block, weights, renames(found, weights)) if block else {}
    has_senses = any(not name.startswith(PREFIX) for name in weights)
    if not has_senses:
        _leave_decoder_alone(model)
    return Unbound(plan, model, found, weights, packed, count_parameters(model), has_senses)


def _leave_decoder_alone(model: VisionLanguageModel) -> None:
    """Take out tower and projector, of which the checkpoint holds nothing: it has been made for text."""
    for name in [name for name in model if f"{name}." != PREFIX]:
        del model[name]


def count_parameters(model: VisionLanguageModel) -> int:
    return sum(array.size for _, array in tree_flatten(model.parameters()))


def sanitized(model: VisionLanguageModel, found: dict[str, mx.array]) -> dict[str, mx.array]:
    """By the module's names. Raises `CheckpointError` when the model cannot make sense of what was `found`."""
    try:
        return model.sanitize(dict(found))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint's weights are not those its config.json speaks of: {error!r}.",
            "The copy or download is incomplete, or it is a variant that is not supported.",
        ) from error

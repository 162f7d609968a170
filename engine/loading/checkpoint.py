"""From a model's folder to a model: everything checked and built first, then read layer by layer.

Knows nothing of sessions. What `prepare` returns has no memory of its own yet, so a model that is loaded meanwhile
stays usable when something is wrong with the next one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mlx.core as mx
from mlx.utils import tree_flatten

from engine.api.errors import CheckpointError, MemoryRefused
from engine.api.events import ModelInfo
from engine.device import Device, DeviceKind, free_memory
from engine.loading.config import custom_code, normalise, read_config, refuse_code
from engine.loading.cpu import suit_cpu
from engine.loading.generation import GenerationDefaults, generation_defaults
from engine.loading.memory import context_length, estimate
from engine.loading.quantize import describe_quantization, packings, quantization_of, quantize, renames
from engine.loading.tokenizer import load_tokenizer
from engine.loading.weights import bind, open_weights
from engine.loading.widen import Widened, widen
from engine.models.base import Family, MediaProcessor, VisionLanguageModel
from engine.models.clips import ClipProcessor
from engine.models.registry import find_family
from engine.sizes import format_size

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that is whole and fits together; `materialise` gives it its memory."""

    source: str
    folder: Path
    config: Mapping[str, Any]
    family: Family
    model: VisionLanguageModel
    tokenizer: "TokenizerWrapper"
    processor: MediaProcessor | None
    clips: ClipProcessor | None
    generation: GenerationDefaults
    info: ModelInfo
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class _Plan:
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
        return open_weights(folder)


def prepare(source: str, folder: Path, device: Device, *, reclaimable: int = 0) -> Checkpoint:
    """Check and build the model in `folder`, reading no weights yet. Raises `CheckpointError` saying what is wrong.

    `reclaimable` bytes will be free once the model that is loaded now is gone; on a CPU they decide whether weights
    can be widened.
    """
    plan = _plan(folder)
    model = plan.build()
    parameters, widened = _fill(model, plan, folder, device, reclaimable)
    generation = generation_defaults(folder, plan.config)
    tokenizer = load_tokenizer(folder, generation.eos_token_ids)
    processor = plan.family.processor and plan.family.processor(folder, plan.config, tokenizer)
    clips = plan.family.clips and plan.family.clips(folder, plan.config, tokenizer)
    weight_bytes = _bytes(model)
    info = _info(source, folder, plan, parameters, weight_bytes)
    note = " ".join(filter(None, (plan.note, widened.note)))
    return Checkpoint(
        source=source,
        folder=folder,
        config=plan.config,
        family=plan.family,
        model=model,
        tokenizer=tokenizer,
        processor=processor,
        clips=clips,
        generation=replace(generation, eos_token_ids=frozenset(tokenizer.eos_token_ids)),
        info=replace(info, device=device.name, note=note),
        weight_bytes=weight_bytes,
    )


def describe(source: str, folder: Path) -> ModelInfo:
    """What a model is, from its config and the names and shapes of its tensors; `weight_bytes` as they lie on disk."""
    plan = _plan(folder)
    weights = plan.weights(folder)
    return _info(source, folder, plan, _count(plan.build()), sum(array.nbytes for array in weights.values()))


def materialise(checkpoint: Checkpoint) -> Iterator[tuple[int, int]]:
    """Read the weights, a layer at a time; yields bytes done and in total between layers."""
    done = 0
    for group in _layers(checkpoint.model):
        try:
            mx.eval(group)
        except RuntimeError as error:
            raise _reading_error(checkpoint, error) from error
        # What was read and then converted is free now; kept for reuse it would count towards the peak.
        mx.clear_cache()
        done += sum(array.nbytes for array in group)
        yield done, checkpoint.weight_bytes


def _plan(folder: Path) -> _Plan:
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
    return _Plan(config, family, quantization_of(config), note)


def _fill(
    model: VisionLanguageModel, plan: _Plan, folder: Path, device: Device, reclaimable: int
) -> tuple[int, Widened]:
    """Bind the checkpoint's lazy tensors; returns the number of parameters, and how the weights were widened."""
    found = plan.weights(folder)
    weights = _sanitized(model, found)
    parameters = _count(model)
    block = plan.quantization
    packed = packings(model, block, weights, renames(found, weights)) if block else {}
    widened = Widened(weights, packed)
    if device.kind is DeviceKind.CPU:
        besides = estimate(plan.config, 0).total
        widened = widen(weights, packed, free_memory(device) + reclaimable - besides)
    quantize(model, widened.packed)
    bind(model, widened.weights)
    if device.kind is DeviceKind.CPU:
        suit_cpu(model)
    model.eval()
    return parameters, widened


def _sanitized(model: VisionLanguageModel, found: dict[str, mx.array]) -> dict[str, mx.array]:
    try:
        return model.sanitize(dict(found))
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(
            f"The checkpoint's weights are not those its config.json speaks of: {error!r}.",
            "The copy or download is incomplete, or it is a variant that is not supported.",
        ) from error


def _info(source: str, folder: Path, plan: _Plan, parameters: int, weight_bytes: int) -> ModelInfo:
    return ModelInfo(
        source=source,
        name=str(plan.config.get("name") or (folder.name if Path(source).is_dir() else source.rpartition("/")[2])),
        model_type=plan.config["model_type"],
        modalities=plan.family.modalities,
        parameters=parameters,
        weight_bytes=weight_bytes,
        context_length=context_length(plan.config),
        device="",
        quantization=describe_quantization(plan.quantization),
        description=str(plan.config.get("description") or ""),
    )


def _layers(model: VisionLanguageModel) -> Iterator[list[mx.array]]:
    """The parameters in groups: those of one layer of a stack together, the others by the part they belong to."""
    groups: dict[str, list[mx.array]] = {}
    for name, array in tree_flatten(model.parameters()):
        parts = name.split(".")
        numbers = [index for index, part in enumerate(parts) if part.isdigit()]
        depth = numbers[0] + 1 if numbers else len(parts) - 1
        groups.setdefault(".".join(parts[:depth]), []).append(array)
    yield from groups.values()


def _count(model: VisionLanguageModel) -> int:
    return sum(array.size for _, array in tree_flatten(model.parameters()))


def _bytes(model: VisionLanguageModel) -> int:
    return sum(array.nbytes for _, array in tree_flatten(model.parameters()))


def _reading_error(checkpoint: Checkpoint, error: RuntimeError) -> CheckpointError | MemoryRefused:
    if "alloc" in str(error):
        return MemoryRefused(
            f"The memory ran out while loading {checkpoint.info.name} ({format_size(checkpoint.weight_bytes)}).",
            "Close other apps, or choose a smaller or a 4-bit version of the model.",
        )
    return CheckpointError(
        f"The weights of {checkpoint.info.name} cannot be read: {error}.",
        "The files changed or vanished while they were read; get them again.",
    )

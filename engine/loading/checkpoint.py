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
from engine.api.model_facts import Capabilities
from engine.device import Device, DeviceKind, free_memory
from engine.loading.adapter import Additions, fit, merge, put_beside, read_adapter
from engine.loading.capabilities import capabilities, modalities
from engine.loading.cpu import suit_cpu
from engine.loading.generation import GenerationDefaults, generation_defaults
from engine.loading.memory import context_length, estimate
from engine.loading.quantize import describe_quantization, quantize
from engine.loading.tokenizer import load_tokenizer
from engine.loading.unbound import Unbound, open_model
from engine.loading.weights import bind
from engine.loading.widen import Widened, widen
from engine.models.base import Family, MediaProcessor, VisionLanguageModel
from engine.models.clips.plan import ClipProcessor
from engine.models.recipes.preprocessor import read_preprocessor
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
    adapter: Path | None = None
    """The folder of the adapter that was put onto the weights."""


def prepare(
    source: str, folder: Path, device: Device | None, *, reclaimable: int = 0, adapter: Path | None = None
) -> Checkpoint:
    """Check and build the model in `folder`, reading no weights yet. Raises `CheckpointError` saying what is wrong.

    `reclaimable` bytes will be free once the model that is loaded now is gone; on a CPU they decide whether weights
    can be widened. Without a `device` they stay as they lie on the disk. `adapter` is the folder of one for the model.
    """
    # Before: what is not read lazily counts for what it becomes, and not for itself.
    free = free_memory(device) + reclaimable if device else 0
    unbound = open_model(folder)
    plan, model = unbound.plan, unbound.model
    additions = {} if adapter is None else fit(read_adapter(adapter), unbound)
    widened = _join(unbound, additions, device, free)
    generation = generation_defaults(folder, plan.config)
    tokenizer = load_tokenizer(folder, generation.eos_token_ids)
    for word in plan.family.ends:
        tokenizer.add_eos_token(word)
    can = capabilities(plan.family, tokenizer, has_senses=unbound.has_senses)
    info = _info(source, folder, unbound, can)
    unsaid = _unsaid(folder, plan.family) if can.pictures else ""
    note = " ".join(filter(None, (plan.note, widened.note, unsaid)))
    return Checkpoint(
        source=source,
        folder=folder,
        config=plan.config,
        family=plan.family,
        model=model,
        tokenizer=tokenizer,
        processor=plan.family.processor(folder, plan.config, tokenizer) if can.pictures else None,
        clips=plan.family.clips(folder, plan.config, tokenizer) if can.video else None,
        generation=replace(generation, eos_token_ids=frozenset(tokenizer.eos_token_ids)),
        info=replace(info, device=device.name if device else "", note=note, adapter=str(adapter or "")),
        weight_bytes=info.weight_bytes,
        adapter=adapter,
    )


def materialise(checkpoint: Checkpoint) -> Iterator[tuple[int, int]]:
    """Read the weights, a layer at a time; yields bytes done and in total between layers."""
    done = 0
    for group in _layers(checkpoint.model):
        try:
            mx.eval(group)
        except RuntimeError as error:
            raise reading_error(checkpoint.info.name, checkpoint.weight_bytes, error) from error
        # What was read and then converted is free now; kept for reuse it would count towards the peak.
        mx.clear_cache()
        done += sum(array.nbytes for array in group)
        yield done, checkpoint.weight_bytes


def _join(unbound: Unbound, additions: Additions, device: Device | None, free: int) -> Widened:
    """Bind the lazy tensors, and what an adapter adds to them, to the module; returns how they were widened."""
    model = unbound.model
    widened = Widened(unbound.weights, unbound.packed)
    on_cpu = device is not None and device.kind is DeviceKind.CPU
    if on_cpu:
        besides = estimate(unbound.plan.config, 0).total
        widened = widen(unbound.weights, unbound.packed, free - besides)
    quantize(model, widened.packed)
    bind(model, merge(additions, widened.weights, widened.packed))
    put_beside(additions, model, widened.packed)
    if on_cpu:
        suit_cpu(model)
    model.eval()
    return widened


def _info(source: str, folder: Path, unbound: Unbound, can: Capabilities) -> ModelInfo:
    config = unbound.plan.config
    return ModelInfo(
        source=source,
        name=str(config.get("name") or (folder.name if Path(source).is_dir() else source.rpartition("/")[2])),
        model_type=config["model_type"],
        modalities=modalities(can),
        parameters=unbound.parameters,
        weight_bytes=sum(array.nbytes for _, array in tree_flatten(unbound.model.parameters())),
        context_length=context_length(config),
        device="",
        quantization=describe_quantization(unbound.plan.quantization),
        description=str(config.get("description") or ""),
        capabilities=can,
    )


def _unsaid(folder: Path, family: Family) -> str:
    """What is told of a checkpoint that does not say how its pictures are to be cut."""
    if family.open_weights is not None or read_preprocessor(folder):
        return ""
    return "The checkpoint has no preprocessor file: pictures are cut as is usual for its family."


def _layers(model: VisionLanguageModel) -> Iterator[list[mx.array]]:
    """The parameters in groups: those of one layer of a stack together, the others by the part they belong to."""
    groups: dict[str, list[mx.array]] = {}
    for name, array in tree_flatten(model.parameters()):
        parts = name.split(".")
        numbers = [index for index, part in enumerate(parts) if part.isdigit()]
        depth = numbers[0] + 1 if numbers else len(parts) - 1
        groups.setdefault(".".join(parts[:depth]), []).append(array)
    yield from groups.values()


def reading_error(name: str, size: int, error: RuntimeError) -> CheckpointError | MemoryRefused:
    """What MLX raised while it read a model's weights, `size` bytes of them, in words."""
    if "alloc" in str(error):
        return MemoryRefused(
            f"The memory ran out while loading {name} ({format_size(size)}).",
            "Close other apps, or choose a smaller or a 4-bit version of the model.",
        )
    return CheckpointError(
        f"The weights of {name} cannot be read: {error}.",
        "The files changed or vanished while they were read; get them again.",
    )

"""A model written anew: packed, unpacked or in another float type, in the form of mlx-community.

Everything is decided before anything is read, and then one tensor at a time is. Knows nothing of requests under way.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx

from engine.api.conversion import ConvertModel, FloatType
from engine.api.errors import CheckpointError, RequestError
from engine.loading.config import text_config
from engine.loading.converted_config import converted_config
from engine.loading.packing import Packings, choose_packings, pack
from engine.loading.quantize import unpack
from engine.loading.safetensors import read_format
from engine.loading.source_names import SourceNames, in_order, source_names
from engine.loading.unbound import Plan, Unbound, open_model, read_plan, sanitized
from engine.loading.weights import listed, weight_files
from engine.models.decoders.text import PREFIX


@dataclass(frozen=True, slots=True)
class Conversion:
    """All that will be written. `write` empties `tensors`."""

    source: Path
    tensors: dict[str, mx.array]
    """Lazy, by the names in the files."""
    layout: str
    config: dict[str, Any]
    notes: tuple[str, ...]
    """What could not be done as asked, for a person."""

    @property
    def size(self) -> int:
        """Bytes of the tensors that are still to be written."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


def plan_conversion(folder: Path, request: ConvertModel) -> Conversion:
    """Raises `CheckpointError` for a model that could not be loaded, `RequestError` for what cannot be done to it."""
    _refuse(request, plan := read_plan(folder))
    unbound = open_model(folder)
    names = source_names(unbound.found, unbound.weights, alone=plan.family.processor is None)
    _check_names(unbound, names)
    decoder = unbound.model.language_model
    packings = choose_packings(decoder, request.quantization) if request.quantization else None
    float_type = _float_type(request, unbound)
    return Conversion(
        source=folder,
        tensors=_tensors(unbound, names, packings, float_type, unpacked=request.dequantize),
        layout=read_format(weight_files(folder)[0]),
        config=converted_config(folder, request, unbound, packings, names),
        notes=_notes(packings),
    )


def _refuse(request: ConvertModel, plan: Plan) -> None:
    if plan.family.open_weights is not None:
        raise RequestError(
            f"{request.source} is not made of safetensors files, and cannot be converted.", "Choose another model."
        )
    is_packed = plan.quantization is not None
    if request.quantization and is_packed:
        raise RequestError(
            f"{request.source} is quantised already.", "Choose the original, or --dequantize into another folder first."
        )
    if request.dequantize and not is_packed:
        raise RequestError(f"{request.source} is not quantised.", "Leave --dequantize out.")


def _check_names(unbound: Unbound, names: SourceNames) -> None:
    """Raises `CheckpointError` unless the decoder's tensors, under the names they will have, are taken as they are."""
    written = {new: unbound.weights[name] for name, new in names.written.items()}
    again = sanitized(unbound.plan.build(), written | {name: unbound.found[name] for name in names.kept})
    decoder = {name: tensor for name, tensor in unbound.weights.items() if name.startswith(PREFIX)}
    if changed := [name for name, tensor in decoder.items() if again.get(name) is not tensor]:
        raise CheckpointError(
            f"This {unbound.plan.config['model_type']} cannot be written anew: {listed(changed)} would change again "
            "whenever it is read.",
            "Choose another version of the model.",
        )


def _float_type(request: ConvertModel, unbound: Unbound) -> mx.Dtype | None:
    """`None` leaves every tensor what it is."""
    config = unbound.plan.config
    said = config.get("dtype") or text_config(config).get("dtype")
    if request.float_type is not None:
        return getattr(mx, request.float_type.value)
    if said in [known.value for known in FloatType]:
        return getattr(mx, said)
    return mx.bfloat16 if request.dequantize else None


def _tensors(
    unbound: Unbound, names: SourceNames, packings: Packings | None, float_type: mx.Dtype | None, *, unpacked: bool
) -> dict[str, mx.array]:
    """By the names they are written under, lazily."""
    weights = unpack(unbound.weights, unbound.packed) if unpacked else unbound.weights
    may_cast = getattr(unbound.model.language_model, "cast_predicate", lambda path: True)
    tensors = {}
    for name, written in names.written.items():
        if name not in weights:
            continue
        path = name.removeprefix(PREFIX)
        cast = name == path or may_cast(path)
        tensor = _as_floats(weights[name], float_type if cast else None)
        layer = path.removesuffix(".weight") if name != path and path.endswith(".weight") else None
        if packings is not None and layer in packings.layers:
            parts = pack(tensor, packings.layers[layer])
            tensors |= {f"{written.removesuffix('weight')}{part}": array for part, array in parts.items()}
        else:
            tensors[written] = tensor
    tensors |= {name: _as_floats(unbound.found[name], float_type) for name in names.kept}
    return dict(in_order(tensors))


def _as_floats(tensor: mx.array, float_type: mx.Dtype | None) -> mx.array:
    return tensor.astype(float_type) if float_type and mx.issubdtype(tensor.dtype, mx.floating) else tensor


def _notes(packings: Packings | None) -> tuple[str, ...]:
    if packings is None or not packings.uneven:
        return ()
    count, group = len(packings.uneven), packings.shared["group_size"]
    subject = "1 layer stays plain, because its" if count == 1 else f"{count} layers stay plain, because their"
    return (f"{subject} width is no multiple of {group}: {listed(list(packings.uneven))}.",)

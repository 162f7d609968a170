"""A LoRA adapter in a folder of its own: read, held against a model, and put onto it as it is loaded.

Knows no family. Sources: `adapters.safetensors` as mlx-lm and mlx-vlm write it, `adapter_model.safetensors` as PEFT
does; the maths is arXiv 2106.09685.
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten
from mlx_lm.models.switch_layers import SwitchLinear

from engine.api.errors import CheckpointError
from engine.loading import merged_adapter as peft
from engine.loading.config import read_json
from engine.loading.quantize import renames
from engine.loading.safetensors import read_header
from engine.loading.unbound import Unbound, sanitized
from engine.loading.weights import listed
from engine.models.decoders.text import PREFIX

CONFIG = peft.CONFIG
OF_MLX = ("adapters.safetensors", "weights.safetensors")

_PAIRS = ((".lora_a", ".lora_b"), (".A", ".B"))
"""mlx-lm's names, and those that mlx-vlm wrote first."""
_ANOTHER = "Train the adapter on this model, or choose the model that it was trained on."


@dataclass(frozen=True, slots=True)
class Adapter:
    """Two tensors a layer, lazily, by the layer's path as the file has it. In MLX's form (in, rank) and (rank, out);
    for embeddings (rows, rank) and (rank, D), for experts (E, rank, in) and (E, out, rank). In PEFT's (rank, in) and
    (out, rank), for linear layers alone."""

    folder: Path
    pairs: Mapping[str, tuple[mx.array, mx.array]] = field(repr=False)
    scale: float
    from_peft: bool


@dataclass(frozen=True, slots=True)
class Addition:
    """To a weight (..., out, in): `scale` times `up` (..., out, rank) times `down` (..., rank, in)."""

    up: mx.array = field(repr=False)
    down: mx.array = field(repr=False)
    scale: float

    def added_to(self, weight: mx.array) -> mx.array:
        # In float32: what is added is small beside the weight.
        addition = self.scale * (self.up.astype(mx.float32) @ self.down.astype(mx.float32))
        return (weight.astype(mx.float32) + addition).astype(weight.dtype)


Additions = Mapping[str, Addition]
"""By the layers' paths in the module."""


def read_adapter(folder: Path) -> Adapter:
    """Raises `CheckpointError` for one that is not there, torn, or of a kind that is not known."""
    weights = _weights_file(folder)
    from_peft = weights.name == peft.WEIGHTS
    scale = peft.scale_of(folder) if from_peft else _scale(folder)
    read_header(weights)
    found = mx.load(str(weights))
    pairs: dict[str, tuple[mx.array, mx.array]] = {}
    for first, second in [(peft.FIRST, peft.SECOND)] if from_peft else _PAIRS:
        for path in [name.removesuffix(first) for name in found if name.endswith(first)]:
            if path + second in found and min(found[path + first].ndim, found[path + second].ndim) > 1:
                pairs[path] = found.pop(path + first), found.pop(path + second)
    if found or not pairs:
        raise CheckpointError(
            f"The adapter in {folder} holds what is no pair of low rank: {listed(sorted(found)) or 'nothing'}.",
            "Only plain LoRA adapters can be used: without DoRA, biases or whole layers.",
        )
    return Adapter(folder, pairs, scale, from_peft)


def digest(folder: Path) -> str:
    """Of what is in an adapter's files. Raises as `read_adapter` does."""
    content = sha256()
    for path in (folder / CONFIG, _weights_file(folder)):
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                content.update(piece)
    return content.hexdigest()


def fit(adapter: Adapter, unbound: Unbound) -> dict[str, Addition]:
    """Held against a model whose layers are not packed yet. Raises `CheckpointError` naming what has no place in it and
    what is of another shape."""
    layers = dict(unbound.model.named_modules())
    places = {path: _place(path, layers) for path in adapter.pairs}
    if adapter.from_peft:
        places = _places_of_source(adapter, unbound)
    taken = list(places.values())
    nowhere = [
        path for path, place in sorted(places.items()) if not _takes(layers.get(place)) or taken.count(place) > 1
    ]
    if nowhere:
        raise CheckpointError(
            f"The adapter in {adapter.folder} is for layers that this model does not have: {listed(nowhere)}.", _ANOTHER
        )
    additions = {places[path]: _addition(layers[places[path]], pair, adapter) for path, pair in adapter.pairs.items()}
    misfits = list(_misfits(additions, layers))
    if misfits:
        raise CheckpointError(
            f"The adapter in {adapter.folder} is for a model of other sizes: {listed(misfits)}.", _ANOTHER
        )
    return additions


def merge(additions: Additions, weights: Mapping[str, mx.array], packed: Iterable[str]) -> dict[str, mx.array]:
    """`weights`, by their names in the module, with what is added to those that are not `packed`."""
    merged = dict(weights)
    for path in additions.keys() - set(packed):
        merged[f"{path}.weight"] = additions[path].added_to(merged[f"{path}.weight"])
    return merged


def put_beside(additions: Additions, model: nn.Module, packed: Iterable[str]) -> None:
    """Swap `packed` layers of `model` for mlx-lm's of the same with what is added beside them: packed weights stay as
    they are."""
    # Not at the top: this brings mlx-lm's trainer.
    from mlx_lm.tuner.lora import LoRAEmbedding, LoRALinear, LoRASwitchLinear

    layers = dict(model.named_modules())
    swapped: list[tuple[str, nn.Module]] = []
    for path in sorted(additions.keys() & set(packed)):
        layer, addition = layers[path], additions[path]
        rank = addition.down.shape[-2]
        if isinstance(layer, nn.QuantizedEmbedding):
            beside = LoRAEmbedding.from_base(layer, r=rank, scale=addition.scale)
            beside.lora_a, beside.lora_b = addition.up, addition.down
        elif isinstance(layer, nn.QuantizedLinear):
            beside = LoRALinear.from_base(layer, r=rank, scale=addition.scale)
            beside.lora_a, beside.lora_b = addition.down.T, addition.up.T
        else:
            beside = LoRASwitchLinear.from_base(layer, r=rank, scale=addition.scale)
            beside.lora_a, beside.lora_b = addition.down, addition.up
        swapped.append((path, beside))
    if swapped:
        model.update_modules(tree_unflatten(swapped))


def _weights_file(folder: Path) -> Path:
    names = (*OF_MLX, peft.WEIGHTS)
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise CheckpointError(
            f"There is no adapter in {folder}: it has none of {', '.join(names)}.",
            f"Choose the folder that holds one of them and {CONFIG}.",
        )
    return found[0]


def _scale(folder: Path) -> float:
    config = read_json(folder / CONFIG)
    kind = config.get("fine_tune_type", "lora")
    if kind != "lora":
        raise CheckpointError(
            f"The adapter in {folder} is of the kind {kind!r}, which is not known here.", "Use a LoRA adapter."
        )
    settings = config.get("lora_parameters", config)
    try:
        # mlx-vlm's first form has the two that the scale is made of.
        return float(settings["scale"] if "scale" in settings else settings["alpha"] / settings["rank"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"The {CONFIG} in {folder} does not tell the scale of the adapter.", "Get the file again."
        ) from error


def _place(path: str, layers: Mapping[str, Any]) -> str:
    """mlx-lm's names begin with the decoder's own, mlx-vlm's with the whole model's."""
    return path if path in layers else PREFIX + path


def _places_of_source(adapter: Adapter, unbound: Unbound) -> dict[str, str]:
    """Where layers are that have the names of a checkpoint: this one's, or those of another version of transformers,
    which the model knows to rename."""
    known = renames(unbound.found, unbound.weights)
    others: dict[str, mx.array] = {}
    for path, (down, up) in adapter.pairs.items():
        source = path.removeprefix(peft.PREFIX)
        # A head that is the embeddings in the checkpoint would become one of its own.
        if source not in known and not source.endswith("lm_head"):
            others[f"{source}.weight"] = mx.zeros((up.shape[0], down.shape[-1]))
    # By themselves a model may miss other tensors, among those of the checkpoint it may go by the names of these.
    for tensors in ({**unbound.found, **others}, others) if others else ():
        with suppress(CheckpointError):
            known |= renames(others, sanitized(unbound.model, tensors))
    paths = ((path, path.removeprefix(peft.PREFIX)) for path in adapter.pairs)
    return {path: known.get(source, source) for path, source in paths}


def _takes(layer: object) -> bool:
    return isinstance(layer, nn.Linear | nn.Embedding | SwitchLinear)


def _addition(layer: nn.Module, pair: tuple[mx.array, mx.array], adapter: Adapter) -> Addition:
    first, second = pair
    if adapter.from_peft or isinstance(layer, SwitchLinear):
        return Addition(second, first, adapter.scale)
    if isinstance(layer, nn.Embedding):
        return Addition(first, second, adapter.scale)
    return Addition(second.T, first.T, adapter.scale)


def _misfits(additions: Additions, layers: Mapping[str, nn.Module]) -> Iterable[str]:
    for path, addition in sorted(additions.items()):
        *stack, rows, width = layers[path].weight.shape
        rank, found = addition.up.shape[-1], (addition.up.shape, addition.down.shape)
        if found != ((*stack, rows, rank), (*stack, rank, width)):
            yield f"{path} is {(*stack, rows, width)}, and gets {found[0]} by {found[1]}"

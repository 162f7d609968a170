"""Tensors into safetensors files, one at a time: none has to be in memory before its turn, or stays after it.

Knows nothing of models. The format is described at github.com/huggingface/safetensors.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import mlx.core as mx
import numpy as np

from engine.loading.weights import INDEX

LARGEST = 5_000_000_000
"""Bytes in one file, as the Hub's own libraries have it."""

_NAMES = {
    mx.bool_: "BOOL",
    mx.uint8: "U8",
    mx.uint16: "U16",
    mx.uint32: "U32",
    mx.uint64: "U64",
    mx.int8: "I8",
    mx.int16: "I16",
    mx.int32: "I32",
    mx.int64: "I64",
    mx.float16: "F16",
    mx.bfloat16: "BF16",
    mx.float32: "F32",
}
_ALIGNMENT = 8


def write_shards(folder: Path, tensors: dict[str, mx.array], layout: str, largest: int = LARGEST) -> Iterator[str]:
    """Write all `tensors`, and the index that says where each is; yields the name of each when it is on the disk.

    Empties `tensors` as it goes. `layout` is what the files say about themselves: "pt" or "mlx".
    """
    total = sum(tensor.nbytes for tensor in tensors.values())
    parts = _split(tensors, largest)
    places: dict[str, str] = {}
    for number, names in enumerate(parts, start=1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors" if len(parts) > 1 else "model.safetensors"
        places |= dict.fromkeys(names, file)
        yield from _write(folder / file, {name: tensors.pop(name) for name in names}, layout)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=4) + "\n", encoding="utf-8")


def _split(tensors: Mapping[str, mx.array], largest: int) -> list[list[str]]:
    """Names by file, in their order."""
    parts: list[list[str]] = [[]]
    size = 0
    for name, tensor in tensors.items():
        if parts[-1] and size + tensor.nbytes > largest:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += tensor.nbytes
    return parts


def _write(path: Path, tensors: dict[str, mx.array], layout: str) -> Iterator[str]:
    header = _header(tensors, layout)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        for name in list(tensors):
            # Taken out, so that nothing holds it once it is written.
            file.write(_content(tensors.pop(name)))
            mx.clear_cache()
            yield name


def _header(tensors: Mapping[str, mx.array], layout: str) -> bytes:
    """Sizes and types are known before anything is computed."""
    entries: dict[str, object] = {"__metadata__": {"format": layout}}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.nbytes
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % _ALIGNMENT)


def _content(tensor: mx.array) -> memoryview:
    if not tensor.size:
        return memoryview(b"")
    tensor = tensor.reshape(-1).view(mx.uint8)
    # By itself first: an error while NumPy asks for the values is lost on the way, and what it gets is no tensor.
    mx.eval(tensor)
    return memoryview(np.asarray(tensor))

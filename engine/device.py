"""The device that runs the arrays: which it is, which BLAS serves it, and how much memory it has left.

Knows nothing of models. Has to come before the first import of MLX, which binds its BLAS when it is loaded.
"""

import contextlib
import ctypes
import os
import site
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from glob import glob
from pathlib import Path

from engine.api.settings import EngineSettings
from engine.cgroup import memory_left, memory_limit

ACCELERATE = "Accelerate"
REFERENCE = "slow reference BLAS"
TOO_LATE = "slow reference BLAS: MLX was imported before a fast one could be opened"

_GIB = 1 << 30
_MKL_LP64 = 0
_MKL_TBB = 4


class DeviceKind(Enum):
    METAL = "metal"
    CPU = "cpu"


@dataclass(frozen=True, slots=True)
class Device:
    kind: DeviceKind
    name: str
    """Such as "Apple M3 Pro (Metal)" or "CPU (MKL)"."""
    blas: str
    total_memory: int
    """Bytes that arrays may take: all of the machine's on the CPU, the recommended working set on Metal."""
    memory_limit: int | None = None
    """Bytes that the settings allow, where they name a limit."""

    @property
    def has_fast_blas(self) -> bool:
        return not self.blas.startswith(REFERENCE)


def open_device(settings: EngineSettings) -> Device:
    """Open the BLAS, import MLX, set its limits. Metal's half was written without a Mac and has not been run."""
    blas = open_blas()
    import mlx.core as mx

    if mx.metal.is_available():
        info = mx.device_info()
        total = int(info["max_recommended_working_set_size"])
        mx.set_wired_limit(total)
        kind, name = DeviceKind.METAL, f"{info['device_name']} (Metal)"
    else:
        import psutil

        machine = psutil.virtual_memory().total
        total = min(machine, memory_limit() or machine)
        kind, name = DeviceKind.CPU, f"CPU ({blas.partition(':')[0]})"
    # Freed buffers kept for reuse; MLX's own limit is as large as the memory, which starves everybody else.
    mx.set_cache_limit(min(total // 16, 4 * _GIB))
    return Device(kind, name, blas, total, settings.memory_limit)


def free_memory(device: Device, beside: int = 0) -> int:
    """Bytes that further arrays may take now, within the limit of the settings. `beside`: bytes that the process
    holds without MLX, which the system counts by itself, Metal and the settings do not."""
    import mlx.core as mx

    used = mx.get_active_memory() + beside
    if device.kind is DeviceKind.METAL:
        free = device.total_memory - used
    else:
        import psutil

        available = psutil.virtual_memory().available
        left = memory_left()
        # What MLX keeps for reuse is the process's already, and free all the same.
        free = min(available, available if left is None else left) + mx.get_cache_memory()
    if device.memory_limit is not None:
        free = min(free, device.memory_limit - used)
    return max(free, 0)


def open_blas() -> str:
    """Make a fast BLAS the one that MLX will find, and say which it is.

    MLX's Linux wheel binds the symbols of a reference BLAS when `mlx.core` is imported, unless a library that was
    opened globally before offers the same ones. That is 30-40 times faster in float32. On macOS MLX has Accelerate.
    """
    if sys.platform == "darwin":
        return ACCELERATE
    if "mlx.core" in sys.modules:
        return next((name for name, path in _libraries() if _is_open(path)), TOO_LATE)
    return next((name for name, path in _libraries() if _open(path)), REFERENCE)


def _libraries() -> Iterator[tuple[str, str]]:
    """Name and path, best first: MKL as pip installs it, then OpenBLAS as the distributions do."""
    for root in dict.fromkeys((sys.prefix, sys.base_prefix, site.getuserbase())):
        for path in sorted(Path(root, "lib").glob("libmkl_rt.so*"), reverse=True):
            yield "MKL", str(path)
    yield "OpenBLAS", "libopenblas.so.0"
    for path in sorted(glob("/usr/lib/*/openblas-*/libopenblas.so.0")):
        yield "OpenBLAS", path


def _open(path: str) -> bool:
    try:
        library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        return False
    if hasattr(library, "MKL_Set_Interface_Layer"):
        _set_up_mkl(library, Path(path).parent)
    return True


def _set_up_mkl(library: ctypes.CDLL, folder: Path) -> None:
    # MLX passes 32-bit integers; an environment that asks MKL for 64-bit ones would make every product wrong.
    library.MKL_Set_Interface_Layer(_MKL_LP64)
    # MKL's own threads spin at every barrier: where something else wants the cores too, a first token took 20 s that
    # takes 1 s with TBB's, which are as fast on an idle machine.
    for runtime in sorted(folder.glob("libtbb.so.*")):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
            library.MKL_Set_Threading_Layer(_MKL_TBB)
            return


def _is_open(path: str) -> bool:
    try:
        ctypes.CDLL(path, mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return False
    return True

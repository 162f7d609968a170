"""Checks whether this machine can run models: each check gives a plain verdict, and the remedy where one is needed.

Knows nothing of how the verdicts are shown.
"""

import importlib.metadata
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engine.api.errors import EngineError
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text
from engine.api.settings import EngineSettings, SamplingSettings
from engine.device import Device, DeviceKind, free_memory, open_device
from engine.exchange import Exchange
from engine.sizes import format_size

LITTLE_MEMORY = 4 * 10**9
LITTLE_DISK = 10 * 10**9
SLOW_GFLOPS = 20
PRODUCT_SIZE = 1024
PACKAGES = ("mlx", "mlx-lm", "transformers")


class Verdict(Enum):
    OK = "ok"
    ATTENTION = "attention"
    """It works, but worse than it could."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    verdict: Verdict
    finding: str
    remedy: str = ""


DeviceProbe = Callable[[EngineSettings, Device], Check]
Probe = Callable[[EngineSettings], Check]


def examine(settings: EngineSettings) -> Iterator[Check]:
    """Every check in turn, each as soon as it is known. What needs a device is left out where none opens."""
    yield check_versions(settings)
    try:
        device = open_device(settings)
    except (ImportError, OSError, RuntimeError) as error:
        yield Check("device", Verdict.BROKEN, f"MLX does not start: {error}", "Install Fovea again: `make setup`.")
    else:
        yield Check("device", Verdict.OK, device.name)
        for probe in DEVICE_PROBES:
            yield probe(settings, device)
    for probe in PROBES:
        yield probe(settings)


def check_versions(settings: EngineSettings) -> Check:
    versions = {"python": platform.python_version()}
    missing = []
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            missing.append(package)
    finding = ", ".join(f"{name} {version}" for name, version in versions.items())
    if missing:
        finding += f"; missing: {', '.join(missing)}"
        return Check("versions", Verdict.BROKEN, finding, "Install Fovea again: `make setup`.")
    return Check("versions", Verdict.OK, finding)


def check_blas(settings: EngineSettings, device: Device) -> Check:
    speed = measure_product()
    finding = f"{device.blas}, {speed:.0f} GF/s in float32"
    if device.kind is DeviceKind.CPU and (not device.has_fast_blas or speed < SLOW_GFLOPS):
        remedy = "Install MKL (`pip install mkl`) or OpenBLAS (`apt install libopenblas0-pthread`)."
        return Check("BLAS", Verdict.ATTENTION, finding, remedy)
    return Check("BLAS", Verdict.OK, finding)


def measure_product() -> float:
    """Giga floating-point operations a second in a float32 product; the better of two, the first one warms up."""
    import mlx.core as mx

    a = mx.random.normal((PRODUCT_SIZE, PRODUCT_SIZE))
    mx.eval(a)
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        mx.eval(a @ a)
        seconds.append(time.perf_counter() - started)
    return 2 * PRODUCT_SIZE**3 / min(seconds) / 1e9


def check_memory(settings: EngineSettings, device: Device) -> Check:
    free = free_memory(device)
    finding = f"{format_size(free)} free of {format_size(device.total_memory)}"
    if device.memory_limit is not None:
        finding += f", limited to {format_size(device.memory_limit)}"
    if free < LITTLE_MEMORY:
        return Check("memory", Verdict.ATTENTION, finding, "Close other programs, or stay with small models.")
    return Check("memory", Verdict.OK, finding)


def check_hub_cache(settings: EngineSettings) -> Check:
    from huggingface_hub import constants

    cache = settings.hub_cache or Path(constants.HF_HUB_CACHE)
    home = _nearest_existing(cache)
    free = shutil.disk_usage(home).free
    finding = f"{cache}, {format_size(_folder_size(cache))} used, {format_size(free)} free on its disk"
    if not os.access(home, os.W_OK):
        return Check("Hub cache", Verdict.BROKEN, f"{finding}, not writable", "Make it writable, or set HF_HUB_CACHE.")
    if free < LITTLE_DISK:
        remedy = "Free some, remove models (`fovea models remove`), or set HF_HUB_CACHE to another disk."
        return Check("Hub cache", Verdict.ATTENTION, finding, remedy)
    return Check("Hub cache", Verdict.OK, finding)


def check_token(settings: EngineSettings) -> Check:
    from huggingface_hub import get_token

    if settings.hub_token or get_token():
        return Check("Hub token", Verdict.OK, "there is one")
    return Check("Hub token", Verdict.OK, "none; only gated and private models need one (set HF_TOKEN)")


def check_starter(settings: EngineSettings) -> Check:
    from engine.loading.starter import missing_files, starter_folder

    folder = starter_folder(settings.resources)
    if missing := missing_files(folder):
        finding = f"{folder} lacks {', '.join(missing)}"
        return Check("starter", Verdict.ATTENTION, finding, "Run `make setup`; other models work without it.")
    return Check("starter", Verdict.OK, str(folder))


def check_tiny_model(settings: EngineSettings) -> Check:
    """Four tokens of noise through the same engine, loader and loop as any other model."""
    from engine.host import EngineHost
    from engine.loading.tiny import write_tiny_llama

    question = (Message(Role.USER, (Text("Hello"),)),)
    request = GenerateRequest(question, max_tokens=4, sampling=SamplingSettings(temperature=0))
    started = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as scratch, EngineHost(settings) as host:
            folder = write_tiny_llama(Path(scratch, "tiny"))
            Exchange(host.client, LoadModel(str(folder))).finish()
            tokens = Exchange(host.client, request).finish().usage.completion_tokens
    except (EngineError, OSError) as error:
        remedy = "Install Fovea again: `make setup`; `fovea doctor --verbose` shows the log."
        return Check("tiny model", Verdict.BROKEN, f"does not run: {error}", remedy)
    return Check("tiny model", Verdict.OK, f"{tokens} tokens, everything in {time.perf_counter() - started:.1f} s")


def _nearest_existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _folder_size(folder: Path) -> int:
    """Links are not followed: the cache's snapshots are links to its blobs."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink() and path.is_file())


DEVICE_PROBES: tuple[DeviceProbe, ...] = (check_blas, check_memory)
PROBES: tuple[Probe, ...] = (check_hub_cache, check_token, check_starter, check_tiny_model)

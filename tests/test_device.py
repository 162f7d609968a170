"""The device: a fast BLAS that really serves MLX, right results, and memory within the limit."""

import subprocess
import sys
import time
from pathlib import Path

import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import EngineSettings
from engine.cgroup import memory_left, memory_limit
from engine.device import REFERENCE, TOO_LATE, Device, DeviceKind, free_memory, open_blas, open_device

ROOT = Path(__file__).resolve().parent.parent
SIZE = 768


def in_a_fresh_process(program):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_products_are_right():
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((67, 67)).astype(np.float32) for _ in range(2))
    product = np.array(mx.array(a) @ mx.array(b))
    np.testing.assert_allclose(product, a.astype(np.float64) @ b.astype(np.float64), atol=1e-4)


def test_the_blas_that_is_named_is_the_one_that_works():
    """Relative to a BLAS that was not opened, so that a busy machine changes nothing."""
    if open_blas().startswith(REFERENCE):
        pytest.skip("no fast BLAS on this machine")
    a = mx.random.normal((SIZE, SIZE))
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        mx.eval(a @ a)
        seconds.append(time.perf_counter() - started)
    slow = in_a_fresh_process(
        f"import mlx.core as mx, time; a = mx.random.normal(({SIZE}, {SIZE})); mx.eval(a); s = time.perf_counter()\n"
        "mx.eval(a @ a); print(time.perf_counter() - s)"
    )
    assert float(slow) > 4 * min(seconds)


def test_opened_too_late_is_said():
    assert in_a_fresh_process("import mlx.core; from engine.device import open_blas; print(open_blas())") == TOO_LATE


def test_opened_before_is_still_known_afterwards():
    program = "from engine.device import open_blas; a = open_blas(); import mlx.core; print(a == open_blas())"
    assert in_a_fresh_process(program) == "True"


def test_importing_the_module_does_not_import_mlx():
    assert in_a_fresh_process("import sys, engine.device; print('mlx' in sys.modules)") == "False"


def test_opening_the_cpu():
    device = open_device(EngineSettings())
    if device.kind is not DeviceKind.CPU:
        pytest.skip("this machine has Metal")
    assert device.name.startswith("CPU (")
    assert 0 < free_memory(device) <= device.total_memory


def test_the_limit_of_the_settings_holds():
    device = open_device(EngineSettings(memory_limit=1_000_000))
    held = mx.zeros((50_000,))
    mx.eval(held)
    assert free_memory(device) <= 800_000


def test_a_limit_that_is_used_up_leaves_nothing():
    held = mx.zeros((50_000,))
    mx.eval(held)
    assert free_memory(Device(DeviceKind.CPU, "CPU", "MKL", 10**9, memory_limit=1000)) == 0


def container(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


VERSION_2 = {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 500\ninactive_file 150\n"}
VERSION_1 = {
    "memory/memory.limit_in_bytes": "1000\n",
    "memory/memory.usage_in_bytes": "700\n",
    "memory/memory.stat": "cache 200\ntotal_inactive_file 150\n",
}


@pytest.mark.parametrize("files", [VERSION_2, VERSION_1])
def test_a_container_has_what_its_limit_leaves_and_what_its_files_only_borrow(files, tmp_path):
    root = container(tmp_path, files)
    assert memory_limit(root) == 1000
    assert memory_left(root) == 450


@pytest.mark.parametrize("files", [{}, VERSION_2 | {"memory.max": "max\n"}])
def test_without_a_limit_the_machine_counts(files, tmp_path):
    root = container(tmp_path, files)
    assert memory_limit(root) is None
    assert memory_left(root) is None


def test_the_container_is_asked(monkeypatch):
    monkeypatch.setattr("engine.device.memory_limit", lambda: 5_000_000)
    monkeypatch.setattr("engine.device.memory_left", lambda: 1_000_000)
    # It would stay for every test after this one.
    monkeypatch.setattr(mx, "set_cache_limit", lambda limit: 0)
    device = open_device(EngineSettings())
    if device.kind is not DeviceKind.CPU:
        pytest.skip("this machine has Metal")
    assert device.total_memory == 5_000_000
    assert free_memory(device) == 1_000_000 + mx.get_cache_memory()

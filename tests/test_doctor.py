"""`fovea doctor`: each check can fail, says how, and the exit status follows."""

import json

import pytest

from engine import doctor
from engine.api.settings import EngineSettings
from engine.cli import main
from engine.commands.doctor import check_text
from engine.device import REFERENCE, Device, DeviceKind
from engine.doctor import Check, Verdict

CPU = Device(DeviceKind.CPU, "CPU (MKL)", "MKL", 16 * 10**9)


def test_a_slow_blas_wants_attention(monkeypatch):
    monkeypatch.setattr(doctor, "measure_product", lambda: 150.0)
    assert doctor.check_blas(EngineSettings(), CPU).verdict is Verdict.OK
    reference = Device(DeviceKind.CPU, "CPU", REFERENCE, 10**9)
    assert "mkl" in doctor.check_blas(EngineSettings(), reference).remedy
    monkeypatch.setattr(doctor, "measure_product", lambda: 5.0)
    assert doctor.check_blas(EngineSettings(), CPU).verdict is Verdict.ATTENTION


def test_products_are_measured(monkeypatch):
    monkeypatch.setattr(doctor, "PRODUCT_SIZE", 64)
    assert doctor.measure_product() > 0


@pytest.mark.parametrize(("free", "verdict"), [(10**9, Verdict.ATTENTION), (9 * 10**9, Verdict.OK)])
def test_little_memory_wants_attention(monkeypatch, free, verdict):
    monkeypatch.setattr(doctor, "free_memory", lambda device: free)
    assert doctor.check_memory(EngineSettings(), CPU).verdict is verdict


def test_a_missing_package_is_broken(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("mlx", "no-such-package"))
    check = doctor.check_versions(EngineSettings())
    assert check.verdict is Verdict.BROKEN
    assert check.finding.endswith("missing: no-such-package")


def test_the_cache_is_measured_without_its_links(tmp_path):
    (tmp_path / "blob").write_bytes(b"x" * 1500)
    (tmp_path / "link").symlink_to("blob")
    check = doctor.check_hub_cache(EngineSettings(hub_cache=tmp_path))
    assert f"{tmp_path}, 1.5 kB used" in check.finding


def test_a_cache_that_is_not_there_yet_is_fine(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LITTLE_DISK", 0)
    check = doctor.check_hub_cache(EngineSettings(hub_cache=tmp_path / "a" / "b"))
    assert check.verdict is Verdict.OK


def test_a_cache_that_cannot_be_written_is_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    assert doctor.check_hub_cache(EngineSettings(hub_cache=tmp_path)).verdict is Verdict.BROKEN


def test_a_full_disk_wants_attention(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "LITTLE_DISK", 1 << 80)
    assert doctor.check_hub_cache(EngineSettings(hub_cache=tmp_path)).verdict is Verdict.ATTENTION


def test_a_missing_starter_says_how_to_get_it(tmp_path):
    check = doctor.check_starter(EngineSettings(resources=tmp_path))
    assert check.verdict is Verdict.ATTENTION
    assert "make setup" in check.remedy


def test_a_tiny_model_runs():
    check = doctor.check_tiny_model(EngineSettings())
    assert check.verdict is Verdict.OK, check
    assert check.finding.startswith("4 tokens")


def test_a_tiny_model_that_does_not_fit_is_broken():
    check = doctor.check_tiny_model(EngineSettings(memory_limit=1))
    assert check.verdict is Verdict.BROKEN


def test_without_a_device_the_rest_is_still_examined(monkeypatch):
    def refuse(settings):
        raise ImportError("libmlx.so is missing")

    monkeypatch.setattr(doctor, "open_device", refuse)
    monkeypatch.setattr(doctor, "PROBES", (lambda settings: Check("last", Verdict.OK, "fine"),))
    checks = list(doctor.examine(EngineSettings()))
    assert [check.name for check in checks] == ["versions", "device", "last"]
    assert checks[1].verdict is Verdict.BROKEN


OK = Check("a", Verdict.OK, "fine")
BROKEN = Check("b", Verdict.BROKEN, "gone", "Get it.")


@pytest.mark.parametrize(("checks", "status"), [([OK], 0), ([OK, BROKEN], 1)])
def test_the_exit_status(checks, status, monkeypatch, capsys):
    monkeypatch.setattr("engine.commands.doctor.examine", lambda settings: iter(checks))
    assert main(["doctor"]) == status
    assert capsys.readouterr().out == "".join(map(check_text, checks))


def test_the_remedy_stands_under_the_finding():
    assert check_text(BROKEN) == "broken     b: gone\n           Get it.\n"


def test_json(monkeypatch, capsys):
    monkeypatch.setattr("engine.commands.doctor.examine", lambda settings: iter([BROKEN]))
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "checks": [{"name": "b", "verdict": "broken", "finding": "gone", "remedy": "Get it."}],
    }

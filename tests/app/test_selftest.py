"""`fovea-app --selftest`, as a packaged app is checked: in its own process, with the real engine and a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    environ = {name: value for name, value in os.environ.items() if name != "QT_QPA_PLATFORM"}
    return subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, env=environ, capture_output=True, text=True)


def test_all_is_well_with_a_tiny_model():
    found = run("-m", "app", "--selftest")
    report = json.loads(found.stdout)
    assert found.returncode == 0, found.stdout + found.stderr
    assert report["ok"]
    assert report["answer"]["picture"]
    assert report["answer"]["text"]
    assert report["imports"]["failed"] == {}
    assert report["imports"]["tried"] > 100
    assert report["quit"]["seconds"] < 2
    assert "PySide6-Essentials" in report["versions"]


def test_a_model_that_is_not_there_fails_the_test_and_says_so(tmp_path):
    found = run("-m", "app", "--selftest", "--selftest-model", tmp_path / "nothing")
    report = json.loads(found.stdout)
    assert found.returncode == 1
    assert not report["ok"]
    assert not report["model"]["ok"]
    assert "nothing" in report["model"]["error"]
    assert report["window"]["ok"]


def test_the_start_is_reported_and_the_app_quits():
    """As `benchmarks/start.py` has it; how fast it is depends on the machine and is not judged here."""
    environ = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-m", "app", "--report-start"]
    found = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert 0 < json.loads(found.stdout)["window_ms"] < 60_000

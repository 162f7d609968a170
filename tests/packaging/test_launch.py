"""Whether `make run` opens a window or goes on in the terminal, and what it says."""

import subprocess
import sys
from pathlib import Path

import pytest

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"


@pytest.fixture
def launch(monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGING))
    import launch

    return launch


@pytest.fixture
def qt_libraries(monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGING))
    import qt_libraries

    return qt_libraries


def obstacle(launch, environ, platform="linux", missing=(), failure=None):
    return launch.find_obstacle(environ, platform, lambda: list(missing), lambda: failure)


@pytest.mark.parametrize("environ", [{"DISPLAY": ":0"}, {"WAYLAND_DISPLAY": "wayland-0"}])
def test_a_display_and_all_libraries_open_the_window(launch, environ):
    assert obstacle(launch, environ) is None


def test_a_mac_needs_no_display_variable(launch):
    assert obstacle(launch, {}, "darwin") is None


def test_without_a_display_nothing_is_tried(launch):
    def probe():
        raise AssertionError("tried to open a window")

    assert "DISPLAY" in launch.find_obstacle({"DISPLAY": ""}, "linux", list, probe)


def test_missing_libraries_are_named_with_the_one_line(launch):
    said = obstacle(launch, {"DISPLAY": ":0"}, missing=["libxcb-cursor.so.0"])
    assert "(libxcb-cursor.so.0)" in said
    assert said.count("apt-get install") == 1
    assert "libxcb-cursor0" in said


def test_windows_nobody_sees_count_as_none(launch):
    assert "offscreen" in obstacle(launch, {"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen:x"})


def test_a_display_that_does_not_answer(launch):
    assert "could not connect" in obstacle(launch, {"DISPLAY": ":9"}, failure="could not connect to display :9")


def test_sample_picture_is_there(launch):
    assert launch.SAMPLE.is_file()


def test_every_library_has_its_package_on_the_line(qt_libraries):
    assert all(f" {package} " in qt_libraries.INSTALL for package in qt_libraries.PACKAGES.values())


def test_only_what_cannot_be_opened_is_missing(qt_libraries, monkeypatch):
    monkeypatch.setattr(qt_libraries.sys, "platform", "linux")
    monkeypatch.setattr(qt_libraries, "PACKAGES", {"libc.so.6": "libc6", "libnowhere.so.1": "libnowhere1"})
    expected = ["libnowhere.so.1"] if sys.platform == "linux" else ["libc.so.6", "libnowhere.so.1"]
    assert qt_libraries.missing_libraries() == expected


def find_python(path: str, chosen: str = "") -> subprocess.CompletedProcess:
    environ = {"PATH": path, "PYTHON": chosen}
    return subprocess.run(
        ["/bin/sh", str(PACKAGING / "find_python.sh")], env=environ, capture_output=True, text=True, check=False
    )


def test_finds_a_python_that_is_new_enough(tmp_path):
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "python3.12").write_text("#!/bin/sh\nexit 0\n")
    (tmp_path / "python3.12").chmod(0o755)
    assert find_python(str(tmp_path)).stdout.strip() == str(tmp_path / "python3.12")


def test_takes_the_python_that_was_chosen(tmp_path):
    assert find_python("/nowhere", sys.executable).stdout.strip() == sys.executable


def test_says_what_to_install_when_there_is_none(tmp_path):
    tried = find_python(str(tmp_path))
    assert tried.returncode == 1
    assert "3.11" in tried.stderr
    assert "install" in tried.stderr

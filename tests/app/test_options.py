"""What can be said on the command line, and what happens where there is no display."""

from pathlib import Path

import pytest

from app.__main__ import has_display, main
from app.options import Options, parse_options


def test_nothing_said_is_the_defaults():
    assert parse_options([]) == Options()


def test_pictures_model_and_checks():
    assert parse_options(["a.png", "b.jpg", "--model", "lab/small"]) == Options(
        pictures=(Path("a.png"), Path("b.jpg")), model="lab/small"
    )
    assert parse_options(["--selftest", "--selftest-model", "/m"]) == Options(selftest=True, selftest_model="/m")
    assert parse_options(["--report-start"]).report_start


def test_help_and_mistakes_need_no_display(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "FILE" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["--no-such-flag"])
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "darwin", True),
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"QT_QPA_PLATFORM": "offscreen"}, "linux", True),
        ({"QT_QPA_PLATFORM": "xcb"}, "linux", False),
    ],
)
def test_whether_there_is_a_display(environ, platform, expected):
    assert has_display(environ, platform) is expected


def test_no_display_is_said_in_a_sentence(monkeypatch, capsys):
    for name in ("QT_QPA_PLATFORM", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert main([]) == 2
    assert "no display" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["--selftest"]])
def test_a_bad_setting_in_the_environment_is_said_in_a_sentence(words, monkeypatch, capsys):
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    monkeypatch.setenv("FOVEA_MEMORY_LIMIT", "plenty")
    assert main(words) == 2
    assert "FOVEA_MEMORY_LIMIT is 'plenty'" in capsys.readouterr().err

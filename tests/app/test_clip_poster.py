"""A clip's poster and length, of each container and of moving and still GIFs."""

import pytest
from PySide6.QtCore import QSize

from app.clip_poster import read_animation, read_poster
from tests.app.clips import CODECS, write_clip, write_gif


@pytest.mark.parametrize("suffix", CODECS)
def test_every_container_has_a_poster_and_a_length(qapp, tmp_path, suffix):
    poster = read_poster(write_clip(tmp_path / f"clip{suffix}"), 32)
    assert poster.image.size() == QSize(32, 24)
    assert poster.image.pixelColor(16, 12).green() > 100, "not the black frame it begins with"
    # An MPEG file does not say how long it lasts; FFmpeg tells from how many bytes make a second.
    assert poster.duration == pytest.approx(2, abs=0.4)


def test_a_clip_of_few_frames_shows_its_first(qapp, tmp_path):
    poster = read_poster(write_clip(tmp_path / "short.mp4", frames=2), 100)
    assert poster.image.size() == QSize(64, 48)
    assert poster.image.pixelColor(16, 12).green() < 50


def test_a_torn_clip_has_no_poster_but_does_no_harm(qapp, tmp_path, capfd):
    whole = write_clip(tmp_path / "whole.mp4").read_bytes()
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(whole[: len(whole) // 2])
    poster = read_poster(torn, 32)
    assert poster.image.isNull()
    assert poster.duration is None
    assert capfd.readouterr().err == ""


def test_enormous_frames_are_not_decoded(qapp, tmp_path, monkeypatch):
    monkeypatch.setattr("app.clip_poster.MAX_PIXELS", 64 * 48 - 1)
    poster = read_poster(write_clip(tmp_path / "large.mp4"), 32)
    assert poster.image.isNull()
    assert poster.duration == pytest.approx(2, abs=0.15)


def test_a_moving_gif_is_a_clip_and_a_still_one_is_none(qapp, tmp_path, monkeypatch):
    moving = write_gif(tmp_path / "moving.gif").read_bytes()
    poster = read_animation(moving, 20)
    assert poster.image.size() == QSize(20, 15)
    assert poster.duration == pytest.approx(1.2)
    assert read_animation(write_gif(tmp_path / "still.gif", frames=1).read_bytes(), 20) is None
    monkeypatch.setattr("app.clip_poster._MAX_GIF_FRAMES", 3)
    assert read_animation(moving, 20).duration is None, "it would take too long to find out"


def test_a_gif_without_delays_is_played_as_browsers_do(qapp, tmp_path):
    quick = write_gif(tmp_path / "quick.gif", milliseconds=0)
    assert read_animation(quick.read_bytes(), 20).duration == pytest.approx(0.4)

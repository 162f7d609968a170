"""Numbers and stages in words."""

import pytest

from app.state.wording import (
    answer_footer,
    bytes_text,
    context_text,
    count_text,
    duration_text,
    percent,
    progress_text,
)
from engine.api.events import Finished, FinishReason, Progress, Stage, Timings, Usage


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1_000, "1.0 KB"),
        (53_400, "53 KB"),
        (540_000_000, "540 MB"),
        (1_460_000_000, "1.5 GB"),
        (16_900_000_000, "17 GB"),
        (2 * 10**12, "2.0 TB"),
        (3 * 10**16, "30000 TB"),
    ],
)
def test_bytes(count, text):
    assert bytes_text(count).replace("\u00a0", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.2, "0:01"), (7.4, "0:07"), (59.7, "1:00"), (3725, "1:02:05")],
)
def test_durations(seconds, text):
    assert duration_text(seconds) == text


def test_counts():
    assert count_text(1, "token") == "1 token"
    assert count_text(12_345, "token") == "12,345 tokens"


def test_progress_with_and_without_a_total():
    assert percent(Progress("r", Stage.LOADING, 1, 0)) is None
    assert percent(Progress("r", Stage.LOADING, 3, 2)) == 100
    assert progress_text(Progress("r", Stage.LOADING, 1, 0)) == "Loading…"
    assert progress_text(Progress("r", Stage.PREFILL, 1, 4)) == "Reading… 25%"
    assert {progress_text(Progress("r", stage, 0, 0)) for stage in Stage}, "every stage has its word"


def test_footer_and_context():
    usage = Usage(prompt_tokens=100, completion_tokens=20, context_length=2048)
    timings = Timings(ttft_s=0.84, generation_tps=24.06)
    finished = Finished("r", FinishReason.STOP, usage, timings)
    assert answer_footer(finished) == "24.1 tokens/s · first token after 0.8 s · 20 tokens"
    assert context_text(finished) == "120 of 2,048 tokens of context used"
    assert answer_footer(Finished("r", FinishReason.CANCELLED)) == "Stopped"
    assert answer_footer(Finished("r", FinishReason.LENGTH)) == "Cut off at its length limit"
    assert context_text(Finished("r", FinishReason.STOP)) == ""

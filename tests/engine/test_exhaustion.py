"""Memory that is short and memory that runs out: who waits, who is refused with what numbers, and who goes on."""

import io

import pytest
from PIL import Image as PILImage

from engine import grants
from engine.api.events import Failed, Finished, FinishReason, Progress, Stage, TextDelta
from engine.api.request import Image, LoadModel
from engine.api.settings import CacheSettings, EngineSettings, SamplingSettings, SpeculationSettings
from engine.models.media.wanted import OF_A_PIXEL
from engine.run import media, room
from engine.run.prefill import Prefill
from engine.run.rows import Rows
from tests.engine.crowd import Crowd
from tests.recording import ask
from tests.scripted import scripted

CHUNK = 16
A_TOKEN = 256
"""Bytes that the tiny model's caches hold for one."""
LETTERS = SamplingSettings(logit_bias=((ord("a") - ord("!"), 100.0),))
PLENTY = 1 << 40
RAN_OUT = "[metal::malloc] Attempting to allocate 64 bytes, more than there are."


def crowded(monkeypatch, folder, **cache):
    cache = CacheSettings(**{"prefill_step_size": CHUNK, "prefix_bytes": 0, **cache})
    # A token a turn.
    quiet = SpeculationSettings(lookup=False)
    with scripted(monkeypatch, EngineSettings(cache=cache, speculation=quiet)) as host:
        assert isinstance(ask(host.client, LoadModel(str(folder))).end(), Finished)
        crowd = Crowd(host)
        crowd.loop, crowd.room = host.loop, host.loop._session.room
        yield crowd


@pytest.fixture
def crowd(tiny_llama, monkeypatch, request):
    yield from crowded(monkeypatch, tiny_llama, **getattr(request, "param", {}))


@pytest.fixture
def seeing(tiny_smolvlm, monkeypatch):
    yield from crowded(monkeypatch, tiny_smolvlm)


def settings(**cache):
    return pytest.mark.parametrize("crowd", [cache], indirect=True)


def leave_free(crowd, bytes_):
    crowd.room._free = lambda: bytes_


def picture(width, height, name="sea.png"):
    data = io.BytesIO()
    PILImage.new("RGB", (width, height), "navy").save(data, "PNG")
    return Image(data.getvalue(), name)


def has_opened(event):
    return isinstance(event, Progress) and event.stage is Stage.LOOKING


# ---- pictures


@pytest.fixture
def decoded(monkeypatch):
    """The sizes of those that have been."""
    sizes, decode = [], media.decode_picture

    def told(*arguments):
        found = decode(*arguments)
        sizes.append(found.image.size)
        return found

    monkeypatch.setattr(media, "decode_picture", told)
    return sizes


def test_a_picture_that_never_fits_is_refused_before_it_is_decoded(seeing, decoded):
    free = 300 * 200 * OF_A_PIXEL - 1
    leave_free(seeing, free)
    seeing.ask("a", seen=[picture(300, 200)])
    seeing.ask("b", turn=3, seen=[picture(20, 10)])
    ends = seeing.play()
    assert ends["a"].code == "not_enough_memory"
    assert "sea.png needs 540 kB" in ends["a"].message
    assert "540 kB are free" in ends["a"].message
    assert decoded == [(20, 10)]


def test_a_picture_waits_for_memory_that_another_has(seeing, decoded):
    seeing.ask("a", max_tokens=30, sampling=LETTERS)
    # What the other holds by then would do.
    seeing.at(6, lambda: leave_free(seeing, 300 * 200 * OF_A_PIXEL - 500))
    seeing.ask("b", turn=7, seen=[picture(300, 200)])
    seeing.at(12, lambda: decoded.append("nothing so far"))
    seeing.at(12, lambda: leave_free(seeing, PLENTY))
    ends = seeing.play()
    assert [end.reason for end in ends.values()] == [FinishReason.LENGTH] * 2
    assert decoded == ["nothing so far", (300, 200)]


def test_two_that_wait_for_each_other_do_not_wait_for_ever(seeing):
    leave_free(seeing, 100)
    for name in "ab":
        seeing.ask(name, seen=[picture(300, 200)])
    assert {end.code for end in seeing.play().values()} == {"not_enough_memory"}


def test_looking_at_a_picture_has_to_fit_too(seeing):
    needs, fits = [], seeing.room.fits

    def told(need, *others):
        needs.append(need)
        return fits(need, *others)

    seeing.room.fits = told
    seeing.ask("text", max_tokens=5)
    seeing.play()
    seeing.ask("picture", seen=[picture(40, 30)], max_tokens=5)
    seeing.play()
    text, opening, looking = needs
    assert opening.passing == 40 * 30 * OF_A_PIXEL < looking.passing
    assert text.passing < looking.passing
    enough = looking.rows * seeing.room.bytes(looking.tokens) + looking.passing
    for free, end in ((enough, Finished), (enough - 1, Failed)):
        seeing.loop._session.reset_caches()
        seeing.loop._session.builder._reader.kept.shrink(0)
        leave_free(seeing, free)
        seeing.ask("again", seen=[picture(40, 30)], max_tokens=5)
        assert isinstance(seeing.play()["again"], end)
    refused = seeing.recorders["again"].end()
    assert refused.code == "not_enough_memory"
    assert "to look at what is in it" in refused.message


def test_pictures_made_ready_give_way_before_anybody_waits(seeing):
    seeing.ask("a", seen=[picture(40, 30)])
    seeing.play()
    kept = seeing.loop._session.builder._reader.kept
    assert kept.bytes
    assert seeing.loop._session.features.bytes
    seeing.room._free = lambda: PLENTY if not kept.bytes else 0
    seeing.room._available = lambda: PLENTY
    seeing.ask("b")
    assert isinstance(seeing.play()["b"], Finished)
    assert kept.bytes == 0


# ---- answers that grow


@pytest.fixture
def counted_by_few(monkeypatch):
    """Answers are given memory for eight tokens at a time."""
    monkeypatch.setattr(room, "GROWTH", 8)
    monkeypatch.setattr(grants, "GROWTH", 8)
    monkeypatch.setattr(grants, "AHEAD", 2)


@settings(max_kv_bytes=100 * A_TOKEN)
def test_one_that_outgrows_the_memory_ends_with_numbers_and_the_other_goes_on(crowd, counted_by_few):
    crowd.ask("a", max_tokens=80, sampling=LETTERS)
    crowd.ask("b", max_tokens=80, sampling=LETTERS, turn=1)
    ends = crowd.play()
    (grown,) = [name for name, end in ends.items() if isinstance(end, Failed)]
    assert ends[grown].code == "not_enough_memory"
    assert "has grown to" in ends[grown].message
    assert "26 kB are allowed" in ends[grown].message or "are free" in ends[grown].message
    other = ends["ab".replace(grown, "")]
    assert other.reason is FinishReason.LENGTH
    assert other.usage.completion_tokens == 80


def test_what_grows_within_the_memory_grows_to_its_end(crowd, counted_by_few):
    crowd.ask("a", max_tokens=80)
    crowd.ask("b", max_tokens=70)
    ends = crowd.play()
    assert [end.usage.completion_tokens for end in ends.values()] == [80, 70]
    assert crowd.loop._generation.idle


# ---- memory that runs out


def run_out(monkeypatch, owner, method, *, at):
    """The calls number `at` of a method fail as MLX does."""
    whole, calls = getattr(owner, method), []

    def hungry(self, *arguments):
        calls.append(self)
        if len(calls) in at:
            raise RuntimeError(RAN_OUT)
        return whole(self, *arguments)

    monkeypatch.setattr(owner, method, hungry)


def test_a_prompt_that_memory_runs_out_for_fails_alone_with_numbers(crowd, monkeypatch, caplog):
    crowd.ask("a", max_tokens=60, sampling=LETTERS)
    run_out(monkeypatch, Prefill, "_forward", at=[4])
    crowd.ask("long", 10 * CHUNK, turn=8)
    ends = crowd.play()
    assert ends["long"].code == "out_of_memory"
    assert "in use and" in ends["long"].message
    assert RAN_OUT in ends["long"].message
    assert "Begin a new chat" in ends["long"].hint
    assert ends["a"].usage.completion_tokens == 60
    crowd.ask("next", 10 * CHUNK)
    assert isinstance(crowd.play()["next"], Finished)


@settings(prefix_bytes=1 << 20)
def test_a_prompt_begins_again_when_something_left_over_has_made_way(crowd, monkeypatch, caplog):
    crowd.ask("long", 10 * CHUNK, max_tokens=10)
    first = crowd.play()["long"]
    expected = crowd.recorders["long"].token_ids
    crowd.ask("other", 5)
    crowd.play()
    crowd.loop._session.prefixes.reset()
    crowd.ask("other", 5)
    crowd.play()
    assert crowd.room.has_leftovers
    run_out(monkeypatch, Prefill, "_forward", at=[4])
    crowd.ask("long", 10 * CHUNK, max_tokens=10)
    again = crowd.play()["long"]
    assert (again.reason, again.usage.completion_tokens) == (first.reason, first.usage.completion_tokens)
    assert crowd.recorders["long"].token_ids == expected


@settings(prefix_bytes=1 << 20)
def test_a_prompt_begins_again_once(crowd, monkeypatch, caplog):
    crowd.ask("other", 5)
    crowd.play()
    run_out(monkeypatch, Prefill, "_forward", at=range(2, 100, 2))
    crowd.ask("long", 10 * CHUNK)
    assert crowd.play()["long"].code == "out_of_memory"


def test_all_of_a_step_fail_with_the_same_numbers(crowd, monkeypatch, caplog):
    run_out(monkeypatch, Rows, "step", at=[12])
    for name in "abc":
        crowd.ask(name, max_tokens=40)
    ends = crowd.play()
    assert {end.code for end in ends.values()} == {"out_of_memory"}
    assert all("in use and" in end.message for end in ends.values())
    crowd.ask("d", max_tokens=40)
    assert crowd.play()["d"].reason is FinishReason.LENGTH


@settings(max_kv_size=64)
def test_those_who_decode_by_themselves_fail_by_themselves(crowd, monkeypatch, caplog):
    """Caches of this kind cannot be put together, so that each answer has a step of its own."""
    run_out(monkeypatch, Rows, "step", at=[20])
    for name in "abc":
        crowd.ask(name, max_tokens=20, sampling=LETTERS)
    ends = crowd.play()
    failed = [name for name, end in ends.items() if isinstance(end, Failed)]
    assert len(failed) == 1
    assert ends[failed[0]].code == "out_of_memory"
    assert all(ends[name].usage.completion_tokens == 20 for name in "abc" if name not in failed)
    assert crowd.loop._generation.idle
    assert crowd.loop._generation._runner._slots == {}


def test_a_picture_that_memory_runs_out_for_fails_alone(seeing, monkeypatch, caplog):
    model = type(seeing.loop._session.checkpoint.model)
    seeing.ask("a", max_tokens=40, sampling=LETTERS)
    run_out(monkeypatch, model, "_look", at=[1, 2])
    seeing.ask("b", turn=6, seen=[picture(40, 30)])
    ends = seeing.play()
    assert ends["b"].code == "out_of_memory"
    assert ends["a"].usage.completion_tokens == 40
    seeing.ask("c", seen=[picture(40, 30)])
    assert isinstance(seeing.play()["c"], Finished)


# ---- what is given back


def test_pixels_and_single_caches_go_when_an_answer_begins(seeing):
    held = []
    seeing.ask("a", max_tokens=30, sampling=LETTERS, seen=[picture(40, 30)])

    def look():
        answer = next(iter(seeing.loop._generation._answers.values()))
        slot = seeing.loop._generation._runner._slots[answer.request_id]
        held.append(([*answer.prompt.media[0].arrays], [*slot.prefill.prompt.media[0].arrays], slot.prefill.caches))
        held.append(answer.need.passing)

    seeing.at(15, look)
    seeing.play()
    # The tiny model's pictures are large enough to be counted as pixels.
    assert held == [([], [], []), 0]
    assert seeing.turns("a", TextDelta)

"""Who may be answered: leftovers give way first, then a request waits, and what can never fit is refused."""

import pytest

from engine.api.errors import MemoryRefused
from engine.loading.footprint import LayerCache
from engine.run.room import GROWTH, Room


class Machine:
    """Memory with something left over in it."""

    def __init__(self, memory, *leftovers):
        self.memory = memory
        self.leftovers = [Leftover(size) for size in leftovers]

    def free(self):
        return self.memory - sum(leftover.bytes for leftover in self.leftovers)

    @property
    def held(self):
        return [leftover.bytes for leftover in self.leftovers]

    def room(self, *layers, max_kv_bytes=None):
        return Room(layers, self.free, self.leftovers, max_kv_bytes)


class Leftover:
    def __init__(self, size):
        self.bytes = size

    def shrink(self, max_bytes):
        assert 0 <= max_bytes <= self.bytes
        self.bytes = max_bytes


FULL, WINDOW, STATE = LayerCache(a_token=10), LayerCache(a_token=10, most_tokens=100), LayerCache(fixed=500)


def test_layers_are_added_up():
    room = Machine(0).room(FULL, WINDOW, STATE)
    assert room.bytes(50) == 500 + 500 + 500
    assert room.bytes(1000) == 10_000 + 1000 + 500


def test_an_answer_counts_as_long_as_answers_are():
    room = Machine(0).room(FULL)
    assert room.need(100, 30) == room.bytes(130)
    assert room.need(100, 10**6) == room.bytes(100 + GROWTH)


def test_what_is_free_is_taken_without_a_word():
    machine = Machine(1000, 300)
    assert machine.room(FULL).fits(700, [])
    assert machine.held == [300]


def test_leftovers_give_way_one_after_the_other_and_no_more_than_they_must():
    machine = Machine(1000, 300, 200)
    room = machine.room(FULL)
    assert room.fits(600, [])
    assert machine.held == [200, 200]
    assert room.fits(950, [])
    assert machine.held == [0, 50]


def test_what_others_may_still_take_is_theirs():
    machine = Machine(1000)
    room = machine.room(FULL)
    assert room.fits(600, [(500, 100)])
    assert not room.fits(601, [(500, 100)])
    assert room.fits(1000, [(500, 900)])


def test_a_limit_of_the_settings_counts_all_that_others_need():
    room = Machine(10**6).room(FULL, max_kv_bytes=1000)
    assert room.fits(500, [(500, 500)])
    assert not room.fits(501, [(500, 500)])


def test_leftovers_stay_where_a_limit_of_the_settings_refuses():
    machine = Machine(1000, 900)
    assert not machine.room(FULL, max_kv_bytes=50).fits(200, [])
    assert machine.held == [900]


def test_leftovers_stay_where_they_would_give_way_for_nothing():
    machine = Machine(1000, 300, 200)
    assert not machine.room(FULL).fits(1001, [])
    assert machine.held == [300, 200]
    assert machine.room(FULL).fits(1000, [])
    assert machine.held == [0, 0]


def test_what_could_not_even_be_answered_alone_never_fits():
    machine = Machine(1000, 300)
    assert not machine.room(FULL).never_fits(1200, [200])
    assert machine.room(FULL).never_fits(1201, [200])
    assert machine.room(FULL, max_kv_bytes=100).never_fits(101, [500])
    assert machine.held == [300]


@pytest.mark.parametrize(("limit", "free"), [(None, "4.0 MB"), (2_000_000, "2.0 MB")])
def test_a_refusal_has_the_numbers(limit, free):
    refusal = Machine(4_000_000, 1_000_000).room(FULL, max_kv_bytes=limit).refusal(50_000_000, 12_345)
    assert isinstance(refusal, MemoryRefused)
    assert "12,345 tokens" in refusal.message
    assert "50 MB" in refusal.message
    assert f"{free} are free" in refusal.message
    assert refusal.hint

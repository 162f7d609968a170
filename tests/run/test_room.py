"""Who may be answered: leftovers give way first, then a request waits, and what can never fit is refused."""

import numpy as np
import pytest

from engine.api.errors import MemoryRefused
from engine.loading.footprint import LayerCache
from engine.run.prompt import Prompt
from engine.run.room import GROWTH, Granted, Need, Room


class Machine:
    """Memory with something left over in it."""

    def __init__(self, memory, *leftovers):
        self.memory = memory
        self.taken = 0
        """By others."""
        self.wasted = 0
        """Beside what is left over, as long as anything is."""
        self.leftovers = [Leftover(size) for size in leftovers]

    def free(self):
        return self.memory - self.used()

    def used(self):
        return self.taken + sum(self.held) + (self.wasted if sum(self.held) else 0)

    @property
    def held(self):
        return [leftover.bytes for leftover in self.leftovers]

    def room(self, *layers, max_kv_bytes=None, padded=True):
        held = self.held
        for leftover in self.leftovers:
            leftover.bytes = 0
        room = Room(layers, Passing(), self.free, self.used, self.leftovers, max_kv_bytes, padded=padded)
        for leftover, size in zip(self.leftovers, held, strict=True):
            leftover.bytes = size
        return room


class Leftover:
    def __init__(self, size):
        self.bytes = size

    def shrink(self, max_bytes):
        assert 0 <= max_bytes <= self.bytes
        self.bytes = max_bytes


class Passing:
    def bytes(self, tokens, media):
        return 3 * tokens + 1000 * len(media)


FULL, WINDOW, STATE = LayerCache(a_token=10), LayerCache(a_token=10, most_tokens=100), LayerCache(fixed=500)


def one(tokens, passing=0, begin=None):
    """A row of which all but the tokens from `begin` on is a prompt."""
    return Need(1, tokens if begin is None else begin, tokens, passing)


def prompt(tokens, media=()):
    return Prompt(np.zeros(tokens, np.int32), np.zeros(0, np.int32), media, "")


def test_layers_are_added_up():
    room = Machine(0).room(FULL, WINDOW, STATE)
    assert room.bytes(50) == 500 + 500 + 500
    assert room.bytes(1000) == 10_000 + 1000 + 500


def test_an_answer_counts_as_long_as_answers_are():
    room = Machine(0).room(FULL)
    assert room.need(prompt(100), 30, 2) == Need(2, 100, 130, 300)
    assert room.need(prompt(100), 10**6, 1) == Need(1, 100, 100 + GROWTH, 300)
    assert room.need(prompt(100, ("picture",)), 30, 1) == Need(1, 100, 130, 1300)


def test_what_is_free_is_taken_without_a_word():
    machine = Machine(1000, 300)
    assert machine.room(FULL).fits(one(70), [])
    assert machine.held == [300]


def test_leftovers_give_way_one_after_the_other_and_no_more_than_they_must():
    machine = Machine(1000, 300, 200)
    room = machine.room(FULL)
    assert room.fits(one(60), [])
    assert machine.held == [200, 200]
    assert room.fits(one(95), [])
    assert machine.held == [0, 50]


def test_what_a_prompt_takes_on_its_way_in_has_to_fit_too():
    machine = Machine(1000, 300)
    assert machine.room(FULL).fits(one(50, passing=500), [])
    assert machine.held == [0]
    assert not machine.room(FULL).fits(one(50, passing=501), [])
    assert not machine.room(FULL).fits(one(50, passing=400), [Granted(Need(passing=101))])


def test_what_others_may_still_take_is_theirs():
    machine = Machine(1000)
    room = machine.room(FULL, padded=False)
    assert room.fits(one(60), [Granted(one(50), 10)])
    assert not room.fits(one(61), [Granted(one(50), 10)])
    assert room.fits(one(100), [Granted(one(50), 50)])


def test_rows_side_by_side_are_all_as_long_as_the_longest():
    # A row of 100 tokens is there: the other, however short, will be as long while it lasts.
    short, long = one(20, begin=10), Granted(one(200, begin=50), 100)
    assert Machine(2 * 1100 - 1000).room(FULL).fits(short, [long])
    assert not Machine(2 * 1100 - 1001).room(FULL).fits(short, [long])
    assert Machine(2000 - 1000).room(FULL, padded=False).fits(short, [long])
    assert not Machine(2000 - 1001).room(FULL, padded=False).fits(short, [long])


def test_rows_that_end_before_others_have_grown_make_room_for_that():
    room = Machine(10**6).room(FULL, max_kv_bytes=1000)
    assert room.fits(one(30, begin=20), [Granted(one(100, begin=20), 30)])
    assert not room.fits(one(30, begin=20), [Granted(one(101, begin=20), 30)])
    # Both of them to the end.
    assert not room.fits(one(60, begin=20), [Granted(one(60, begin=20), 20)])


def test_for_one_who_is_alone_leftovers_count_as_they_lie_in_memory():
    machine = Machine(1000, 100)
    machine.wasted = 400
    room = machine.room(FULL)
    # By what they say of themselves, 600 would be free.
    assert not room.fits(one(70), [Granted(one(1), 1)])
    assert machine.held == [100]
    assert room.fits_alone(one(70))
    assert machine.held == [0]


def test_what_was_launched_is_over_before_one_is_refused():
    machine = Machine(1000)
    machine.taken = 600

    def settle():
        machine.taken = 0

    room = Room((FULL,), Passing(), machine.free, lambda: 0, (), None, settle=settle)
    assert not room.fits(one(70), [])
    assert room.fits_alone(one(70))


def test_an_answer_that_grows_has_what_it_holds():
    room = Machine(100).room(FULL)
    assert room.fits(one(60), [], tokens=50)
    assert not room.fits(one(61), [], tokens=50)


def test_a_limit_of_the_settings_counts_all_that_others_need():
    room = Machine(10**6).room(FULL, max_kv_bytes=1000)
    assert room.fits(one(50), [Granted(one(50), 50)])
    assert not room.fits(one(51), [Granted(one(50), 50)])
    assert room.fits(one(50, passing=10_000), [Granted(one(50), 50)])


def test_leftovers_stay_where_a_limit_of_the_settings_refuses():
    machine = Machine(1000, 900)
    assert not machine.room(FULL, max_kv_bytes=50).fits(one(20), [])
    assert machine.held == [900]


def test_leftovers_stay_where_they_would_give_way_for_nothing():
    machine = Machine(1000, 300, 200)
    assert not machine.room(FULL).fits(one(101), [])
    assert machine.held == [300, 200]
    assert machine.room(FULL).fits(one(100), [])
    assert machine.held == [0, 0]


def test_what_could_not_even_be_answered_alone_never_fits():
    machine = Machine(1000, 300)
    room = machine.room(FULL)
    assert not room.never_fits(one(100))
    assert room.never_fits(one(101))
    assert room.never_fits(one(90, passing=101))
    # What others hold will be free.
    machine.taken = 500
    assert not room.never_fits(one(100))
    assert room.never_fits(one(101))
    assert machine.room(FULL, max_kv_bytes=500).never_fits(one(51))
    assert machine.held == [300]


@pytest.mark.parametrize(
    ("limit", "said"), [(None, "2.0 MB are free"), (500_000, "2.0 MB are free"), (50_000, "50 kB are allowed")]
)
def test_a_refusal_has_the_numbers(limit, said):
    room = Machine(2_000_000, 1_000_000).room(FULL, max_kv_bytes=limit)
    refusal = room.refusal(Need(3, 9_876, 10_000, 1_900_000 if limit != 50_000 else 1000), prompt(9_876))
    assert isinstance(refusal, MemoryRefused)
    assert "9,876 tokens" in refusal.message
    assert "300 kB to remember it for 3 answers" in refusal.message
    assert said in refusal.message
    assert "look at" not in refusal.message
    assert refusal.hint


def test_a_refusal_says_what_pictures_take():
    refusal = Machine(0).room(FULL).refusal(Need(1, 10, 1000, 2_000_000), prompt(10, ("picture",)))
    assert "needs 2.0 MB" in refusal.message
    assert "10 kB to remember it, 2.0 MB to look at what is in it" in refusal.message


def test_other_refusals_have_their_numbers():
    room = Machine(5_000, 1_000).room(FULL)
    too_large = room.too_large("sea.png", Need(passing=7_000))
    assert "sea.png needs 7.0 kB" in too_large.message
    assert "5.0 kB are free" in too_large.message
    outgrown = room.outgrown(Need(1, 10, 5000), 2048)
    assert "2,048 tokens" in outgrown.message
    assert "50 kB" in outgrown.message


def test_where_memory_ran_out_everything_left_over_goes(caplog):
    machine = Machine(10_000, 3_000, 1_000)
    room = machine.room(FULL)
    assert room.has_leftovers
    refusal = room.ran_out(RuntimeError("[malloc] Unable to allocate 9 bytes."))
    assert (refusal.code, bool(refusal.hint)) == ("out_of_memory", True)
    assert "4.0 kB in use and 6.0 kB free" in refusal.message
    assert "Unable to allocate 9 bytes" in refusal.message
    assert machine.held == [0, 0]
    assert not room.has_leftovers

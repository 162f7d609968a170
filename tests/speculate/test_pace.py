"""Guesses grow while they are right, shrink when they are not, stop when they are worth nothing, and come back."""

import pytest

from engine.speculate.pace import FIRST, FORETOLD, LEAST, LONGEST_REST, REST, Pace, State


def resting(pace):
    """The same pace, once guesses have been wrong until it rests."""
    for _ in range(100):
        if pace.state is State.RESTING:
            return pace
        pace.judge(pace.count, 0)
    raise AssertionError("it never rests")


def rest(pace):
    """How many tokens it rests for."""
    tokens = 0
    while pace.state is State.RESTING:
        pace.wait(foretold=False)
        tokens += 1
    return tokens


def test_right_guesses_grow_up_to_the_most():
    pace = Pace(12)
    counts = []
    for _ in range(4):
        counts.append(pace.count)
        pace.judge(pace.count, pace.count)
    assert counts == [FIRST, 2 * FIRST, 12, 12]


@pytest.mark.parametrize(("right", "count"), [(0, LEAST), (1, LEAST), (2, 3), (3, 4)])
def test_a_wrong_one_is_followed_by_one_as_long_as_what_was_right_and_one_more(right, count):
    pace = Pace(12)
    pace.judge(FIRST, right)
    assert pace.count == count


def test_the_most_is_never_passed():
    pace = Pace(1)
    assert pace.count == 1
    pace.judge(1, 1)
    pace.judge(1, 0)
    assert pace.count == 1
    assert resting(pace).count == 0


def test_two_right_tokens_a_guess_are_worth_it_for_ever():
    pace = Pace(8)
    for _ in range(1000):
        pace.judge(pace.count, min(2, pace.count))
    assert pace.state is State.GUESSING


def test_half_a_right_token_a_guess_is_not():
    pace = Pace(8)
    for number in range(20):
        if pace.state is State.GUESSING:
            pace.judge(pace.count, number % 2)
    assert pace.state is State.RESTING
    assert pace.count == 0


def test_one_wrong_guess_is_no_reason_to_rest():
    pace = Pace(8)
    pace.judge(pace.count, 0)
    assert pace.state is State.GUESSING


def test_rests_become_longer_until_guessing_is_worth_it_again():
    pace = resting(Pace(8))
    assert rest(pace) == REST
    pace.judge(pace.count, 0)
    assert pace.state is State.RESTING, "after a rest one that is all wrong is enough"
    assert rest(pace) == 2 * REST
    for _ in range(10):
        rest(resting(pace))
    assert rest(resting(pace)) == LONGEST_REST
    pace.judge(pace.count, pace.count)
    assert rest(resting(pace)) == REST


def test_a_rest_ends_when_guesses_would_have_been_right_again():
    pace = resting(Pace(8))
    for foretold in [*[True] * (FORETOLD - 1), False, *[True] * FORETOLD]:
        assert pace.state is State.RESTING
        pace.wait(foretold=foretold)
    assert pace.count == FIRST

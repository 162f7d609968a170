"""Look-up guesses what followed the place that is most like the end."""

import numpy as np
import pytest

from engine.speculate.lookup import LONGEST, TRUST, PromptLookup


def proposed(history, count=8):
    return PromptLookup().propose(np.array(history, np.int32), count)


@pytest.mark.parametrize("history", [[], [1], [1, 1], [1, 2, 3, 4], [1, 2, 9, 3, 2]])
def test_nothing_without_two_tokens_that_came_before(history):
    assert proposed(history) == []


def test_what_followed_the_same_two_tokens():
    assert proposed([1, 2, 3, 4, 5, 6, 9, 1, 2]) == [3, 4, 5, 6]


def test_of_several_places_the_one_that_is_like_the_end_for_longer():
    history = [7, 1, 2, 30, 31, 8, 1, 2, 40, 41, 7, 1, 2]
    assert proposed(history, 2) == [30, 31]


def test_of_places_alike_the_later_one():
    assert proposed([1, 2, 30, 31, 9, 1, 2, 40, 41, 8, 1, 2], 2) == [40, 41]


def test_no_more_than_asked_for():
    assert proposed([1, 2, 3, 4, 5, 6, 9, 1, 2], 1) == [3]


def test_two_tokens_are_trusted_for_fewer_than_many_are():
    run = list(range(100, 140))
    assert len(proposed([*run, 1, *run[:2]], 40)) == TRUST * 2
    assert proposed([*run, 1, *run[:LONGEST]], 40) == run[LONGEST : LONGEST + TRUST * LONGEST]


def test_a_pattern_goes_round():
    assert proposed([5, 1, 2, 3, 1, 2, 3, 1, 2, 3], 8) == [1, 2, 3, 1, 2, 3, 1, 2]
    assert proposed([9, 4, 4, 4, 4], 5) == [4] * 5


def test_what_was_said_is_left_as_it_is():
    history = np.array([1, 2, 3, 1, 2], np.int32)
    PromptLookup().propose(history, 4)
    assert history.tolist() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("seed", range(20))
def test_against_a_search_by_hand(seed):
    history = np.random.default_rng(seed).integers(0, 4, 60).tolist()
    end = len(history)
    alike = [0] * end
    for place in range(1, end):
        ends = [history[place - back : place] == history[end - back :] for back in range(1, min(place, LONGEST) + 1)]
        alike[place] = [*ends, False].index(False)
    best = max(range(1, end), key=lambda place: (alike[place], place))
    found = proposed(history, 3)
    assert found == [history[best:][n % (end - best)] for n in range(3)]

"""One answer's guesses: made from all that was said, never behind its end, and counted."""

import numpy as np

from engine.speculate.lookup import PromptLookup
from engine.speculate.pace import FORETOLD
from engine.speculate.speculation import Speculation


class Says:
    """A drafter that always says the same, and keeps what it was asked with."""

    def __init__(self, draft=(), *, always=True):
        self.draft, self.always, self.asked = list(draft), always, []

    def propose(self, history, count):
        self.asked.append((history.tolist(), count))
        return self.draft[:count]


def speculation(drafter, prompt=(1, 2, 3), **options):
    options = {"most": 8, "max_tokens": 100} | options
    return Speculation(drafter, np.array(prompt), **options)


def test_it_is_asked_with_prompt_and_answer():
    guesses = speculation(drafter := Says([7, 8]), max_tokens=1000)
    for token in range(10, 10 + 700):
        guesses.add(token)
    assert guesses.propose(8) == [7, 8]
    assert drafter.asked[-1] == ([1, 2, 3, *range(10, 710)], 4)


def test_no_further_than_the_caller_the_pace_and_the_end_let_it():
    assert len(speculation(Says([5] * 9)).propose(2)) == 2
    assert len(speculation(Says([5] * 9)).propose(8)) == 4
    assert len(speculation(Says([5] * 9), max_tokens=3).propose(8)) == 3
    assert speculation(Says([5] * 9)).propose(0) == []
    assert speculation(Says([5] * 9)).propose(-3) == []
    guesses = speculation(Says([5] * 9), max_tokens=2)
    guesses.add(4)
    assert len(guesses.propose(8)) == 1
    guesses.add(4)
    assert guesses.propose(8) == []


def test_nothing_behind_an_end():
    assert speculation(Says([5, 0, 5, 0]), end_ids={0}).propose(8) == [5, 0]


def test_it_is_ready_where_a_guess_is_to_be_expected():
    assert speculation(Says([5])).ready
    assert not speculation(Says([], always=False)).ready
    assert speculation(Says([5], always=False)).ready
    assert not speculation(Says([5]), max_tokens=1).ready, "the next token is the last"
    always = Says([5])
    assert speculation(always).ready
    assert always.asked == [], "to ask it costs something"


def test_wrong_guesses_end_in_a_rest_which_ends_when_they_would_be_right():
    guesses = speculation(Says([5], always=False))
    while guesses.ready:
        guesses.judge(1, 0)
    assert guesses.propose(8) == []
    for _ in range(FORETOLD):
        assert not guesses.ready
        guesses.add(5)
    assert guesses.ready


def test_what_is_guessed_is_counted():
    guesses = speculation(Says([5]))
    guesses.judge(4, 3)
    guesses.judge(4, 0)
    assert (guesses.drafted, guesses.accepted) == (8, 3)


def test_an_answer_that_quotes_its_prompt():
    text = list(range(20, 60))
    guesses = speculation(PromptLookup(), prompt=[*text, 1, 2])
    guesses.add(20)
    assert not guesses.ready
    guesses.add(21)
    assert guesses.ready
    assert guesses.propose(8) == [22, 23, 24, 25]

"""Masks: as wide as the model, open for the end only when the answer is whole, and never silently wrong."""

import mlx.core as mx
import numpy as np
import pytest

from engine.api.errors import InternalError, RequestError
from engine.api.response_format import Regex
from engine.api.settings import ConstraintLimits
from engine.constrain.constraint import GrammarConstraint
from engine.constrain.grammars import build_constraint
from engine.constrain.tokens import grammar_tokenizer

END = 256
UNKNOWN = 290
"""To the tokenizer; the model has a place for it."""


def allowed(mask):
    assert mask.dtype == mx.bool_
    return np.flatnonzero(np.asarray(mask)[0]).tolist()


def accept_text(tiny, constraint, text):
    for token in tiny.ids(text):
        constraint.accept(token)


def test_the_end_is_allowed_when_the_answer_is_whole_and_not_before(tiny):
    constraint = tiny.constraint(Regex("ab?"))
    [a], [b] = tiny.ids("a"), tiny.ids("b")
    assert allowed(constraint.mask(300)) == [a]
    constraint.accept(a)
    assert allowed(constraint.mask(300)) == sorted([b, END])
    assert constraint.waits
    assert not constraint.stopped
    constraint.accept(b)
    assert allowed(constraint.mask(300)) == [END]
    assert constraint.stopped
    assert not constraint.waits
    constraint.accept(END)
    assert constraint.stopped


@pytest.mark.parametrize("size", [260, 266, 300, 1000])
def test_a_mask_is_as_wide_as_the_models_logits(tiny, size):
    mask = tiny.constraint(Regex("[^x]*")).mask(size)
    assert mask.shape == (1, size)
    assert max(allowed(mask)) <= END, "no control token, and none that the tokenizer does not know"


def test_each_end_of_several_ends_an_answer(tiny):
    tokens = grammar_tokenizer(tiny.checkpoint.tokenizer, {END, 260, UNKNOWN})
    constraint = build_constraint(Regex("a?"), tokens, ConstraintLimits())
    assert allowed(constraint.mask(300)) == [*tiny.ids("a"), END, 260]
    constraint.accept(260)
    assert constraint.stopped


def test_a_character_of_several_tokens_is_cut_nowhere(tiny):
    constraint = tiny.constraint(Regex("é"))
    first, second = tiny.ids("é")
    assert allowed(constraint.mask(300)) == [first]
    constraint.accept(first)
    assert allowed(constraint.mask(300)) == [second]


def test_a_token_that_is_not_allowed_is_a_bug(tiny):
    constraint = tiny.constraint(Regex("a"))
    with pytest.raises(InternalError, match="does not allow"):
        accept_text(tiny, constraint, "b")


class Stuck:
    """A matcher that has had to work too much, or knows no way on."""

    def __init__(self, error=""):
        self.error = error

    def compute_bitmask(self):
        return bytes(40)

    def is_error(self):
        return bool(self.error)

    def get_error(self):
        return self.error

    def stop_reason(self):
        return "LexerTooComplex"


def test_too_much_work_is_told_as_such():
    with pytest.raises(RequestError, match="too many states") as caught:
        GrammarConstraint(Stuck("too many states\ndetails")).mask(300)
    assert caught.value.code == "format_too_complex"
    assert "details" not in caught.value.message


def test_a_form_that_the_models_tokens_cannot_reach_is_told():
    with pytest.raises(RequestError, match="cannot go on"):
        GrammarConstraint(Stuck()).mask(300)

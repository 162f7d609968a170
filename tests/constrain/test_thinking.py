"""A model may think before an answer that is held to a form, which begins right behind the end marker."""

import mlx.core as mx
import numpy as np
import pytest

from engine.api.response_format import Regex
from engine.api.settings import SamplingSettings
from engine.constrain.thinking import DelayedConstraint, ThinkingBlock
from engine.run.sampler import Sampler
from tests.constrain.answering import play

START, END = 257, 258
EOS = 256
SIZE = 300


def block(tiny, *, is_open=False, start=(START,), end=(END,), end_text="<|assistant|>"):
    return ThinkingBlock(start, end, end_text, tiny.checkpoint.tokenizer.decode, is_open)


def said(tiny, constraint, wishes, most=20):
    """What comes of a model that would like to say `wishes`, then nothing but "z"."""
    wishes = iter([*wishes])
    [z] = tiny.ids("z")

    def logits(_):
        row = np.zeros((1, SIZE), np.float32)
        row[0, next(wishes, z)] = 9
        return mx.array(row)

    sampler = Sampler(SamplingSettings(temperature=0.0), mx.array([0]), seed=0, logprobs=False, constraint=constraint)
    [ids] = play([sampler], logits, frozenset({EOS}), most)
    return ids


@pytest.mark.parametrize("is_open", [False, True])
def test_thoughts_are_free_and_the_answer_behind_them_is_held(tiny, is_open):
    thoughts = tiny.ids("hm, zz")
    wishes = [*([] if is_open else [START]), *thoughts, END, *tiny.ids("zzzz")]
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny, is_open=is_open))
    found = said(tiny, constraint, wishes)
    assert found == [*wishes[: wishes.index(END) + 1], *tiny.ids("ab")]
    assert constraint.stopped


def test_a_model_that_does_not_think_is_held_from_its_first_token(tiny):
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny))
    assert said(tiny, constraint, tiny.ids("zz")) == tiny.ids("ab")


def test_the_end_marker_right_at_the_beginning(tiny):
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny, is_open=True))
    assert said(tiny, constraint, [END]) == [END, *tiny.ids("ab")]


def test_thinking_costs_no_wait_and_the_answer_does(tiny):
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny, is_open=True))
    assert not constraint.waits
    constraint.accept(tiny.ids("x")[0])
    assert not constraint.waits
    assert not constraint.stopped
    constraint.accept(END)
    assert constraint.waits


def test_a_marker_of_several_tokens_is_known_by_its_text(tiny):
    start, end = tuple(tiny.ids("<t>")), tuple(tiny.ids("</t>"))
    several = block(tiny, start=start, end=end, end_text="</t>")
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), several)
    wishes = [*start, *tiny.ids("hm < / t"), *end]
    assert said(tiny, constraint, wishes, most=40) == [*wishes, *tiny.ids("ab")]


def test_a_start_marker_once_begun_is_written_to_its_end(tiny):
    start = tuple(tiny.ids("<t>"))
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny, start=start))
    assert said(tiny, constraint, tiny.ids("<zz"))[:3] == list(start)


def test_an_answer_that_begins_like_the_marker_is_an_answer(tiny):
    constraint = DelayedConstraint(tiny.constraint(Regex("<a>")), block(tiny, start=tuple(tiny.ids("<t>"))))
    assert said(tiny, constraint, tiny.ids("<t>")) == tiny.ids("<a>")


def test_a_marker_that_the_form_would_allow_is_a_marker_all_the_same(tiny):
    anything = Regex("(.|\\n)*")
    constraint = DelayedConstraint(tiny.constraint(anything), block(tiny))
    said(tiny, constraint, [START, *tiny.ids("hm")], most=3)
    assert not constraint.holds


class Budget:
    """One that would end thinking at once, as a marker's words in an answer make it believe."""

    waits = True

    def forced(self):
        return END

    def accept(self, token):
        pass


def test_a_budget_puts_nothing_into_an_answer_that_is_held(tiny):
    settings = SamplingSettings(temperature=0.0)
    constraint = DelayedConstraint(tiny.constraint(Regex("ab")), block(tiny, is_open=True))
    options = {"seed": 0, "logprobs": False, "constraint": constraint, "budget": Budget()}
    sampler = Sampler(settings, mx.array([0]), **options)
    [ids] = play([sampler], lambda _: mx.zeros((1, SIZE)), frozenset({EOS}))
    assert ids == [END, *tiny.ids("ab")]

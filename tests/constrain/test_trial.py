"""Forms that would take for ever are ended, with the process that they were tried in."""

import pytest

from engine.api.errors import RequestError
from engine.api.response_format import Grammar, JsonSchema, Regex
from engine.api.settings import ConstraintLimits
from engine.constrain import grammars, trial
from engine.constrain.grammars import build_constraint
from engine.constrain.trial import try_out

ENDLESS = JsonSchema.of({"type": "string", "allOf": [{"pattern": f"(a|b)*a(a|b){{{n}}}"} for n in range(3, 30)]})
"""Each has to hold beside all others: hours."""


def test_what_does_not_end_is_ended(tiny):
    with pytest.raises(RequestError, match="more than 1 s") as caught:
        build_constraint(ENDLESS, tiny.tokens, ConstraintLimits(compile_s=1.0))
    assert caught.value.code == "format_timeout"


def test_what_takes_too_much_memory_is_refused():
    with pytest.raises(RequestError, match="memory") as caught:
        try_out("", 1, 60, program="import os; os.abort()")
    assert caught.value.code == "format_too_complex"


@pytest.mark.parametrize("program", ["raise SystemExit(1)", "nonsense("])
def test_a_trial_that_cannot_be_held_says_nothing(program):
    try_out("", 1, 60, program=program)


@pytest.mark.parametrize("executable", ["/nowhere/python", "/nowhere/Fovea", ""])
def test_where_no_process_can_be_started_the_form_is_taken_as_it_is(tiny, monkeypatch, executable):
    monkeypatch.setattr(trial.sys, "executable", executable)
    assert tiny.allows(JsonSchema.of({"type": "integer", "multipleOf": 3}), "9")


@pytest.mark.parametrize(
    ("form", "is_tried"),
    [
        (JsonSchema.of({"type": "string", "pattern": "a+"}), True),
        (JsonSchema.of({"type": "object", "patternProperties": {"^a": {}}}), True),
        (JsonSchema.of({"items": {"type": "integer", "multipleOf": 3}}), True),
        (Grammar("start: T\nT: /a*/ & ~/aa/"), True),
        (JsonSchema.of({"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}), False),
        (Regex("[a-z]{3}"), False),
    ],
)
def test_only_what_may_take_for_ever_is_tried(tiny, monkeypatch, form, is_tried):
    tried = []
    monkeypatch.setattr(grammars, "try_out", lambda *given: tried.append(given))
    build_constraint(form, tiny.tokens, ConstraintLimits())
    assert bool(tried) is is_tried


def test_what_is_tried_and_found_good_is_held(tiny):
    form = JsonSchema.of({"type": "string", "pattern": "^a+$", "maxLength": 3})
    assert tiny.allows(form, '"aaa"')
    assert not tiny.allows(form, '"aaaa"')
    with pytest.raises(RequestError, match="look-around"):
        tiny.constraint(JsonSchema.of({"type": "string", "pattern": "(?=a)b"}))

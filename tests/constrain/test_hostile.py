"""Forms that are made to take too much: refused as such, at once or where it shows, and never as a mistake of ours."""

import numpy as np
import pytest

from engine.api.errors import RequestError
from engine.api.response_format import Grammar, JsonSchema, Regex
from engine.api.settings import ConstraintLimits
from engine.constrain.grammars import build_constraint

MOST_STEPS = 60


def doubling(keyword):
    """Each name stands for twice what the one before does."""
    names = {"a0": {"type": "object", "properties": {"x": {"type": "integer"}}}}
    for number in range(1, 30):
        names[f"a{number}"] = {keyword: [{"$ref": f"#/$defs/a{number - 1}"}] * 2}
    return JsonSchema.of({"$defs": names, "$ref": "#/$defs/a29"})


TOO_MUCH = {
    "counts in counts": Regex("((((a{0,100}){0,100}){0,100}){0,100}){0,100}"),
    "thousands of options": Regex("a?" * 3000 + "a" * 3000),
    "rules in rules": Grammar('start: a{1,1000}\na: b{1,1000}\nb: c{1,1000}\nc: "x"'),
    "thousands of properties": JsonSchema.of({"properties": {f"p{n}": {} for n in range(5000)}, "type": "object"}),
    "nothing but itself": JsonSchema.of({"$ref": "#"}),
    "one another": JsonSchema.of(
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}
    ),
    "parentheses": Regex("(" * 4000 + "a" + ")" * 4000),
    "groups of a grammar": Grammar("start: " + "(" * 5000 + '"a"' + ")" * 5000),
    "patterns that shut each other out": JsonSchema.of(
        {"type": "string", "allOf": [{"pattern": f"(a|b)*a(a|b){{{n}}}"} for n in range(3, 13)]}
    ),
}
JUST_LARGE = {
    "a large count": Regex("[a-z]{1,1000000}"),
    "guesses of what follows": Regex("(a|b)*a(a|b){200}"),
    "doubled by allOf": doubling("allOf"),
    "doubled by anyOf": doubling("anyOf"),
    "at least a million": JsonSchema.of({"type": "array", "items": {"type": "string"}, "minItems": 1_000_000}),
    "many ways to read it": Grammar('start: start start | "a"'),
}


def drawn(tiny, form):
    """The first tokens of an answer: the letter a where it may stand."""
    constraint = build_constraint(form, tiny.tokens, ConstraintLimits())
    [wish] = tiny.ids("a")
    for count in range(MOST_STEPS):
        if constraint.stopped:
            return count
        allowed = np.flatnonzero(np.array(constraint.mask(300))[0])
        constraint.accept(wish if wish in allowed else int(allowed[0]))
    return MOST_STEPS


@pytest.mark.parametrize("name", TOO_MUCH)
def test_what_takes_too_much_work_is_refused_as_such(tiny, name):
    with pytest.raises(RequestError) as caught:
        drawn(tiny, TOO_MUCH[name])
    assert caught.value.code in ("bad_format", "format_too_complex", "unreachable_format", "format_too_large")
    assert caught.value.hint
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", JUST_LARGE)
def test_what_is_only_large_is_held(tiny, name):
    assert drawn(tiny, JUST_LARGE[name]) > 0

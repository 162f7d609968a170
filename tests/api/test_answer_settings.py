"""Settings and forms of an answer are checked where they are made: what is wrong is named, and nothing is let pass."""

import json
import math

import pytest

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, Message, Role, Text
from engine.api.response_format import Choice, Grammar, JsonSchema, Regex
from engine.api.settings import SamplingSettings

QUESTION = (Message(Role.USER, (Text("?"),)),)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("presence_penalty", -2, 2),
        ("frequency_penalty", -2, 2),
        ("xtc_probability", 0, 1),
        ("xtc_threshold", 0, 0.5),
    ],
)
def test_ranges(name, least, most):
    for value in (least, most, None):
        assert getattr(SamplingSettings(**{name: value}), name) == value
    for value in (least - 0.01, most + 0.01, math.nan, math.inf):
        with pytest.raises(RequestError, match=name):
            SamplingSettings(**{name: value})


@pytest.mark.parametrize("name", ["presence_context_size", "frequency_context_size"])
def test_context_sizes_are_not_negative(name):
    assert getattr(SamplingSettings(**{name: 0}), name) == 0
    with pytest.raises(RequestError, match=name):
        SamplingSettings(**{name: -1})


@pytest.mark.parametrize(
    ("biases", "word"),
    [(((-1, 1.0),), "token -1"), (((3, math.nan),), "not a number"), (((3, 1.0), (3, 2.0)), "twice")],
)
def test_biases(biases, word):
    with pytest.raises(RequestError, match=f"logit_bias.*{word}"):
        SamplingSettings(logit_bias=biases)


def test_top_logprobs():
    for count in (0, 20):
        GenerateRequest(QUESTION, logprobs=True, top_logprobs=count)
    for count in (-1, 21):
        with pytest.raises(RequestError, match=f"top_logprobs is {count}"):
            GenerateRequest(QUESTION, logprobs=True, top_logprobs=count)
    with pytest.raises(RequestError, match="without logprobs"):
        GenerateRequest(QUESTION, top_logprobs=1)


def test_a_schema_is_kept_in_its_order_without_needless_whitespace():
    written = '{ "properties" : {"b":{},\n"a":{"const":"é"}}, "type":"object" }'
    expected = '{"properties":{"b":{},"a":{"const":"é"}},"type":"object"}'
    assert JsonSchema(written).schema == expected
    assert JsonSchema.of(json.loads(written)).schema == expected
    assert JsonSchema.of(True).schema == "true"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{", "not JSON"),
        ("[]", "neither an object"),
        ("3", "neither an object"),
        ('{"a":1,"b":{"c":1,"c":2}}', "'c' twice"),
        ('{"minimum":NaN}', "NaN"),
        ('{"minimum":1e999}', "not JSON"),
        ("[" * 100_000 + "]" * 100_000, "not JSON"),
        ('{"const":"\\ud800"}', "surrogate"),
    ],
)
def test_text_that_is_no_schema(text, word):
    with pytest.raises(RequestError, match=word) as caught:
        JsonSchema(text)
    assert caught.value.hint


@pytest.mark.parametrize("schema", [{"a": {1, 2}}, {"minimum": math.inf}, {"a": object()}])
def test_values_that_are_not_json(schema):
    with pytest.raises(RequestError, match="cannot be written"):
        JsonSchema.of(schema)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Regex(""), "regular expression is empty"),
        (lambda: Grammar(""), "grammar is empty"),
        (lambda: Choice(()), "nothing to choose"),
        (lambda: Choice(("a", "")), "choice is empty"),
        (lambda: Choice(("a\udc00",)), "surrogate"),
    ],
)
def test_forms_that_ask_for_nothing(make, word):
    with pytest.raises(RequestError, match=word):
        make()

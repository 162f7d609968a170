"""Whatever a model of noise would like to say, what comes has the form that was asked for."""

import json
import re

import jsonschema
import pytest

from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex
from tests.constrain.answering import GREEDY, SAMPLED

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "kind": {"enum": ["a/b", None, 2]},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
SCHEMAS = {
    "object": PERSON,
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "pattern": {"type": "string", "pattern": "^[a-c]{2,5}$"},
    "date": {"type": "string", "format": "date"},
    "reference": {
        "$defs": {"P": PERSON},
        "type": "array",
        "items": {"$ref": "#/$defs/P"},
        "minItems": 1,
        "maxItems": 1,
    },
    "alternatives": {
        "oneOf": [
            {"properties": {"is": {"const": "cat"}, "lives": {"const": 9}}, "required": ["is", "lives"]},
            {"properties": {"is": {"const": "dog"}, "bark": {"enum": ["wuff", "wau"]}}, "required": ["is", "bark"]},
        ],
    },
}
for part in SCHEMAS["alternatives"]["oneOf"]:
    part |= {"type": "object", "additionalProperties": False}

SETTINGS = pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])


@SETTINGS
@pytest.mark.parametrize("name", SCHEMAS)
def test_an_answer_is_what_the_schema_allows(tiny, settings, name):
    for seed in range(4):
        [text] = tiny.answers([tiny.constraint(JsonSchema.of(SCHEMAS[name]))], settings, seed)
        jsonschema.validate(json.loads(text), SCHEMAS[name])


@SETTINGS
@pytest.mark.parametrize("pattern", ["[a-f0-9]{4}-x?", "yes|no", "(?i)ja+b", "é{2}/\\.[^a]"])
def test_an_answer_is_matched_as_a_whole(tiny, settings, pattern):
    held = pattern.replace("a+", "a{1,9}")
    [text] = tiny.answers([tiny.constraint(Regex(held))], settings)
    assert re.fullmatch(held, text), text


@SETTINGS
def test_an_answer_is_one_of_the_choices(tiny, settings):
    options = ("a", "ab", 'q"x\\y', "né\n\t", "<|user|>", "(a|b)*")
    for seed in range(6):
        [text] = tiny.answers([tiny.constraint(Choice(options))], settings, seed)
        assert text in options


@SETTINGS
def test_an_answer_is_derived_from_the_grammar(tiny, settings):
    sums = 'start: number ("+" number){1,3}\nnumber: /[1-9][0-9]{0,2}/'
    [text] = tiny.answers([tiny.constraint(Grammar(sums))], settings)
    assert re.fullmatch(r"[1-9]\d{0,2}(\+[1-9]\d{0,2}){1,3}", text), text


def test_rows_are_held_to_their_own_forms_and_one_to_none(tiny):
    forms = [JsonSchema.of(SCHEMAS["array"]), Regex("[x-z]{9}"), None, Choice(("left", "right"))]
    constraints = [form and tiny.constraint(form) for form in forms]
    array, letters, free, side = tiny.answers(constraints)
    jsonschema.validate(json.loads(array), SCHEMAS["array"])
    assert re.fullmatch("[x-z]{9}", letters)
    assert side in ("left", "right")
    assert free == tiny.answers([None, None, None, None])[2], "a row is not disturbed by what others are held to"


def test_json_mode_is_an_object(tiny):
    for text, is_allowed in {'{"a": [1, {}]}': True, "{}": True, "[]": False, "1": False, ' {"a":1}': False}.items():
        assert tiny.allows(JsonObject(), text) is is_allowed, text


def test_what_penalties_forbid_is_drawn_where_nothing_else_is_allowed(tiny):
    settings = GREEDY.__class__(temperature=0.0, no_repeat_ngram_size=1, frequency_penalty=2.0)
    assert tiny.answers([tiny.constraint(Regex("(ab){5}"))], settings) == ["ababababab"]


def test_spaces_between_values_come_to_an_end(tiny):
    assert tiny.allows(JsonObject(), '{\n    "a": 1\n}')
    assert not tiny.allows(JsonObject(), "{" + " " * 100 + "}")


@pytest.mark.parametrize("extra", ['"a":2', '"\\u0061":2'])
def test_no_property_of_the_schema_comes_twice(tiny, extra):
    schema = JsonSchema.of({"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"]})
    assert tiny.allows(schema, '{"a":1,"b":2}')
    assert not tiny.allows(schema, '{"a":1,' + extra + "}")


def test_a_strict_schema_has_the_properties_it_lists_and_no_others(tiny):
    inner = {"type": "object", "properties": {"b": {"type": "integer"}}}
    schema = {"type": "object", "properties": {"a": inner, "free": {"type": "object"}}}
    open_text, free_text = '{"a":{"b":1,"c":1}}', '{"a":{"b":1},"free":{"c":1}}'
    assert tiny.allows(JsonSchema.of(schema), open_text)
    assert not tiny.allows(JsonSchema.of(schema, strict=True), open_text)
    assert tiny.allows(JsonSchema.of(schema, strict=True), free_text)
    assert tiny.allows(
        JsonSchema.of({"type": "object", "properties": {}, "additionalProperties": True}, strict=True), '{"c":1}'
    )


def test_strict_parts_of_one_object_do_not_shut_each_other_out(tiny):
    parts = [{"type": "object", "properties": {name: {"const": 1}}, "required": [name]} for name in "ab"]
    assert tiny.allows(JsonSchema.of({"allOf": parts}, strict=True), '{"a":1,"b":1}')


@pytest.mark.parametrize(("schema", "text"), [(True, "[1]"), ({}, '"x"'), ({"title": "Any"}, "null")])
def test_a_schema_that_allows_anything(tiny, schema, text):
    assert tiny.allows(JsonSchema.of(schema), text)

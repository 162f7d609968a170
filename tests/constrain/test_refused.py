"""What cannot be held is refused by name and place, and what is too large is not even looked at."""

from dataclasses import replace

import pytest

from engine.api.errors import RequestError
from engine.api.response_format import Choice, Grammar, JsonSchema, Regex
from engine.api.settings import ConstraintLimits
from engine.constrain import grammars
from engine.constrain.grammars import build_constraint
from engine.constrain.keywords import KNOWN

LIMITS = ConstraintLimits()


def refusal(tiny, form, limits=LIMITS):
    with pytest.raises(RequestError) as caught:
        build_constraint(form, tiny.tokens, limits)
    assert caught.value.hint
    return caught.value


KEYWORDS = (
    *("not", "if", "then", "else", "uniqueItems", "contains", "minContains", "maxContains", "propertyNames"),
    *("dependentRequired", "dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems"),
    *("$dynamicRef", "$recursiveRef", "$vocabulary", "nullable", "x-guidance", "minlength", ""),
)


@pytest.mark.parametrize("keyword", KEYWORDS)
@pytest.mark.parametrize(
    "draft", ["https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-04/schema#"]
)
def test_keywords_that_cannot_be_enforced(tiny, keyword, draft):
    schema = {"$schema": draft, "type": "array", "items": {"anyOf": [{"type": "string"}, {keyword: {}}]}}
    error = refusal(tiny, JsonSchema.of(schema))
    assert repr(keyword) in error.message
    assert "#/items/anyOf/1" in error.message
    assert error.code == "unsupported_schema"


PLACES = {
    "#/properties/a~1b": {"properties": {"a/b": {"not": {}}}},
    "#/patternProperties/^x": {"patternProperties": {"^x": {"not": {}}}},
    "#/$defs/T": {"$defs": {"T": {"not": {}}}},
    "#/definitions/T": {"definitions": {"T": {"not": {}}}},
    "#/additionalProperties": {"additionalProperties": {"not": {}}},
    "#/prefixItems/0": {"prefixItems": [{"not": {}}]},
    "#/items/1": {"items": [{}, {"not": {}}]},
    "#/allOf/0": {"allOf": [{"not": {}}]},
    "#/oneOf/0": {"oneOf": [{"not": {}}]},
}


@pytest.mark.parametrize("place", PLACES)
def test_a_keyword_is_found_wherever_a_schema_can_stand(tiny, place):
    assert f"at {place}, which" in refusal(tiny, JsonSchema.of(PLACES[place])).message


def test_a_property_or_a_value_may_have_the_name_of_a_keyword(tiny):
    schema = {"properties": {"not": {"const": {"not": 1}}}, "required": ["not"], "type": "object"}
    assert tiny.allows(JsonSchema.of(schema), '{"not":{"not":1}}')


def test_annotations_are_understood(tiny):
    notes = {"title": "T", "description": "D", "default": 1, "examples": [1], "deprecated": True, "readOnly": True}
    assert set(notes) <= KNOWN
    assert tiny.allows(JsonSchema.of({"type": "integer", **notes}), "7")


MORE_THAN_CAN_BE_HELD = {
    "minProperties": {"type": "object", "minProperties": 2},
    "additionalItems": {"prefixItems": [{}], "additionalItems": False},
    "const": {"const": 2**53 + 1},
    "enum": {"enum": [1, {"x": ["\x01"]}]},
    "required": {"required": ["a\x7f"]},
    "properties": {"properties": {"a\x00": {}}},
    "minimum": {"type": "integer", "minimum": -(2**60)},
    "exclusiveMaximum": {"type": "number", "exclusiveMaximum": 1e300},
}


@pytest.mark.parametrize("keyword", MORE_THAN_CAN_BE_HELD)
def test_known_keywords_that_ask_for_more_than_can_be_held(tiny, keyword):
    error = refusal(tiny, JsonSchema.of({"anyOf": [MORE_THAN_CAN_BE_HELD[keyword]]}))
    assert f"{keyword} at #/anyOf/0" in error.message


def test_as_many_properties_as_cannot_be_the_same_are_held(tiny):
    schema = {"type": "object", "properties": {"a": {"const": 1}}, "required": ["a"], "minProperties": 2}
    assert tiny.allows(JsonSchema.of(schema), '{"a":1,"b":1}')
    assert not tiny.allows(JsonSchema.of(schema), '{"a":1}')


REFUSED_BY_THE_ENGINE = {
    "zzz": {"type": "string", "format": "zzz"},
    "look-around": {"type": "string", "pattern": "(?=a)b"},
    "example.com": {"$ref": "https://example.com/a.json"},
    "/$defs/b": {"$ref": "#/$defs/b"},
    "strin": {"type": "strin"},
    "minimum (3) is greater": {"type": "integer", "minimum": 3, "maximum": 2},
    "'a' is unsatisfiable": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "#/items/oneOf": {"items": {"oneOf": [{"type": "string"}, {"minLength": 2}]}},
    "minItems": {"type": "array", "minItems": -1},
    "unsatisfiable": False,
}


@pytest.mark.parametrize("word", REFUSED_BY_THE_ENGINE)
def test_what_the_grammar_engine_refuses_is_told(tiny, word):
    message = refusal(tiny, JsonSchema.of(REFUSED_BY_THE_ENGINE[word])).message
    assert word.lower() in message.lower()
    assert "\n" not in message


@pytest.mark.parametrize("pattern", ["[", "(?=a)b", "(a)\\1", r"\bx", "a$b"])
def test_regular_expressions_that_cannot_be_held(tiny, pattern):
    assert "regular expression cannot be enforced" in refusal(tiny, Regex(pattern)).message


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('first: "a"', "start"),
        ("start: foo", "foo"),
        ('start: "a', "lexer"),
        ('start: "a" <|nope|>', "<|nope|>"),
        ('start: a\na[temperature=0.5]: "x"', "temperature"),
        ('start: %json {"type": "string", "minlength": 3}', "minlength"),
        ('start: %json {"x-guidance": {"lenient": true}, "not": {}}', "x-guidance"),
        ('{"grammars": [{"json_schema": {"minlength": 1}}]}', "cannot be enforced"),
    ],
)
def test_grammars_that_cannot_be_held(tiny, text, word):
    message = refusal(tiny, Grammar(text)).message
    assert word in message
    assert "available" not in message, "a model's whole list of tokens is no message"


def test_a_schema_inside_a_grammar_is_held(tiny):
    grammar = Grammar('start: "x=" %json {"type": "integer", "minimum": 3, "maximum": 4}')
    assert tiny.allows(grammar, "x=3")
    assert not tiny.allows(grammar, "x=5")


def test_what_the_grammar_engine_leaves_out_with_a_warning_is_refused_too(tiny, monkeypatch):
    monkeypatch.setattr(grammars, "check_schema", lambda schema, limits: None)
    lenient = Grammar('start: %json {"x-guidance": {"lenient": true}, "not": {}}')
    assert '"not"' in refusal(tiny, lenient).message


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


TOO_LARGE = {
    "max_schema_bytes": (50, JsonSchema.of({"title": "x" * 60}), "bytes"),
    "max_schema_depth": (8, JsonSchema.of(nested(9)), "nested"),
    "max_enum_values": (4, JsonSchema.of({"anyOf": [{"enum": [1, 2, 3]}, {"enum": [4, 5]}]}), "#/anyOf/1"),
    "max_regex_length": (5, Regex("abcdef"), "characters"),
    "max_grammar_bytes": (10, Grammar('start: "aaaaaaa"'), "bytes"),
}


@pytest.mark.parametrize("limit", TOO_LARGE)
def test_what_is_too_large_is_refused_and_what_is_not_is_taken(tiny, limit):
    most, form, word = TOO_LARGE[limit]
    error = refusal(tiny, form, replace(LIMITS, **{limit: most}))
    assert error.code == "format_too_large"
    assert word in error.message
    build_constraint(form, tiny.tokens, replace(LIMITS, **{limit: 200}))


@pytest.mark.parametrize(
    ("limits", "form"),
    [
        ({"max_enum_values": 2}, Choice(("a", "b", "c"))),
        ({"max_grammar_bytes": 5}, Choice(("abc", "def"))),
        ({"max_regex_length": 5}, JsonSchema.of({"type": "string", "pattern": "abcdef"})),
        ({"max_regex_length": 5}, JsonSchema.of({"patternProperties": {"abcdef": {}}})),
        ({"max_schema_depth": 8}, Grammar('start: %json {"const": [[[[[[[[[[]]]]]]]]]]}')),
    ],
)
def test_the_same_limits_hold_elsewhere(tiny, limits, form):
    assert refusal(tiny, form, replace(LIMITS, **limits)).code == "format_too_large"
    build_constraint(form, tiny.tokens, LIMITS)


def test_a_tokenizer_without_bytes_is_refused():
    from engine.constrain.tokens import grammar_tokenizer

    with pytest.raises(RequestError, match="tokenizer") as caught:
        grammar_tokenizer(object(), {1})
    assert caught.value.code == "unsupported_format"

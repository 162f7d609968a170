"""Every keyword of JSON Schema draft 2020-12 is enforced, or says nothing of what is valid, or is refused by name."""

import pytest
from jsonschema_specifications import REGISTRY

from engine.api.errors import RequestError
from engine.api.response_format import JsonSchema
from engine.api.settings import ConstraintLimits
from engine.constrain.grammars import build_constraint
from engine.constrain.keywords import KNOWN

DRAFT = "https://json-schema.org/draft/2020-12"
VOCABULARIES = ("core", "applicator", "unevaluated", "validation", "format-annotation", "content", "meta-data")


def keywords():
    found = {key for name in VOCABULARIES for key in REGISTRY.contents(f"{DRAFT}/meta/{name}")["properties"]}
    # Those of earlier drafts that it still speaks of.
    return sorted(found | set(REGISTRY.contents(f"{DRAFT}/schema")["properties"]))


NAMED = {"$defs": {"a": {"const": 1}}, "$ref": "#/$defs/a"}
ENFORCED = {
    "$defs": (NAMED, "1", "2"),
    "$ref": (NAMED, "1", "2"),
    "definitions": ({"definitions": {"a": {"const": 1}}, "$ref": "#/definitions/a"}, "1", "2"),
    "prefixItems": ({"type": "array", "prefixItems": [{"const": 1}], "minItems": 1}, "[1]", "[2]"),
    "items": ({"type": "array", "items": {"const": 1}}, "[1]", "[2]"),
    "properties": ({"type": "object", "properties": {"a": {"const": 1}}}, '{"a":1}', '{"a":2}'),
    "patternProperties": ({"type": "object", "patternProperties": {"^a": {"const": 1}}}, '{"ab":1}', '{"ab":2}'),
    "additionalProperties": ({"type": "object", "additionalProperties": {"const": 1}}, '{"b":1}', '{"b":2}'),
    "allOf": ({"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 3}]}, "2", "4"),
    "anyOf": ({"anyOf": [{"const": 1}, {"const": 2}]}, "2", "3"),
    "oneOf": ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, "true", '"x"'),
    "type": ({"type": ["integer", "null"]}, "null", "true"),
    "const": ({"const": "x"}, '"x"', '"y"'),
    "enum": ({"enum": [1, "x"]}, '"x"', "2"),
    "multipleOf": ({"type": "integer", "multipleOf": 3}, "9", "8"),
    "minimum": ({"type": "integer", "minimum": 3}, "3", "2"),
    "maximum": ({"type": "integer", "maximum": 3}, "3", "4"),
    "exclusiveMinimum": ({"type": "integer", "exclusiveMinimum": 3}, "4", "3"),
    "exclusiveMaximum": ({"type": "integer", "exclusiveMaximum": 3}, "2", "3"),
    "minLength": ({"type": "string", "minLength": 2}, '"ab"', '"a"'),
    "maxLength": ({"type": "string", "maxLength": 2}, '"ab"', '"abc"'),
    "pattern": ({"type": "string", "pattern": "^a+$"}, '"aa"', '"b"'),
    "format": ({"type": "string", "format": "date"}, '"2024-02-03"', '"yesterday"'),
    "minItems": ({"type": "array", "minItems": 1}, "[1]", "[]"),
    "maxItems": ({"type": "array", "maxItems": 1}, "[1]", "[1,2]"),
    "required": ({"type": "object", "required": ["a"]}, '{"a":1}', "{}"),
    "minProperties": ({"type": "object", "minProperties": 1}, '{"a":1}', "{}"),
    "maxProperties": ({"type": "object", "maxProperties": 1}, '{"a":1}', '{"a":1,"b":2}'),
}
REMARKS = {
    "$schema": f"{DRAFT}/schema",
    "$id": "https://example.com/mine",
    "$anchor": "mine",
    "$comment": "x",
    "title": "x",
    "description": "x",
    "default": 7,
    "deprecated": True,
    "readOnly": True,
    "writeOnly": True,
    "examples": [7],
    "contentEncoding": "base64",
    "contentMediaType": "image/png",
    "contentSchema": {"type": "null"},
}
"""What says nothing of an answer's validity: JSON Schema Core 7.7, Validation 8 (content) and 9 (meta-data)."""


@pytest.mark.parametrize("keyword", ENFORCED)
def test_it_is_enforced(tiny, keyword):
    schema, allowed, forbidden = ENFORCED[keyword]
    assert keyword in schema
    assert tiny.allows(JsonSchema.of(schema), allowed)
    assert not tiny.allows(JsonSchema.of(schema), forbidden)
    if "$ref" not in schema:
        # Elsewhere than at the root, too.
        inside = JsonSchema.of({"type": "array", "items": schema})
        assert tiny.allows(inside, f"[{allowed},{allowed}]")
        assert not tiny.allows(inside, f"[{allowed},{forbidden}]")


@pytest.mark.parametrize("keyword", REMARKS)
def test_it_says_nothing_of_what_is_valid(tiny, keyword):
    assert tiny.allows(JsonSchema.of({keyword: REMARKS[keyword], "type": "integer"}), "3")


@pytest.mark.parametrize("keyword", [key for key in keywords() if key not in ENFORCED and key not in REMARKS])
def test_it_is_refused_by_name(tiny, keyword):
    assert keyword not in KNOWN
    for schema in ({keyword: {}}, {"type": "array", "items": {"anyOf": [{keyword: True}, {}]}}):
        with pytest.raises(RequestError, match="cannot be enforced") as caught:
            build_constraint(JsonSchema.of(schema), tiny.tokens, ConstraintLimits())
        assert repr(keyword) in caught.value.message
        assert caught.value.code == "unsupported_schema"


def test_the_draft_is_covered():
    assert set(ENFORCED) | set(REMARKS) <= set(keywords())
    assert len(keywords()) > 55

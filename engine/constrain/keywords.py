"""The keywords of JSON schemas that are understood here, by what stands behind them.

Knows nothing of what is refused. Source: JSON Schema draft 2020-12, and what llguidance implements of it.
"""

LISTS = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
"""Of schemas."""
MAPS = frozenset(("properties", "patternProperties", "$defs", "definitions"))
"""From names to schemas."""
SCHEMAS = frozenset(("additionalProperties", "additionalItems", "items"))
"""One schema; until draft 7, `items` may be a list of them."""

_ANY = frozenset(("$ref", "const", "enum", "type"))
_NUMBERS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
_STRINGS = frozenset(("minLength", "maxLength", "pattern", "format"))
_CONTAINERS = frozenset(("minItems", "maxItems", "required", "minProperties", "maxProperties"))
_IDENTITY = frozenset(("$schema", "$id", "id", "$anchor", "$comment"))
_ANNOTATIONS = frozenset(("title", "description", "default", "example", "examples", "readOnly", "writeOnly"))
_HINTS = frozenset(("deprecated", "discriminator", "contentMediaType", "contentEncoding", "contentSchema"))
KNOWN = frozenset().union(LISTS, MAPS, SCHEMAS, _ANY, _NUMBERS, _STRINGS, _CONTAINERS, _IDENTITY, _ANNOTATIONS, _HINTS)

INSTEAD = {
    "nullable": 'Write "type": [..., "null"].',
    "not": "Say what is allowed, with enum or anyOf.",
    "dependentRequired": "Write the cases out with anyOf.",
    "if": "Write the cases out with anyOf.",
    "then": "Write the cases out with anyOf.",
    "else": "Write the cases out with anyOf.",
    "contains": "Say what all items are, with items.",
}
"""What to do about some that are not."""

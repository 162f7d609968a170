"""JSON as this engine has it written: how a schema becomes a grammar of llguidance's.

Knows nothing of what is checked before. Source: llguidance's docs/json_schema.md.
"""

_OPTIONS = {
    # Not endless: a model that has lost its thread would go on with it for ever.
    "whitespace_pattern": r"[ \t\r\n]{1,24}",
    # Without \u, which names could be spelled a second way with, and halves of pairs be written.
    "json_allowed_escapes": 'nrbtf\\"',
    "coerce_one_of": False,
    "lenient": False,
}


def schema_grammar(schema: str) -> str:
    """`schema` as JSON text."""
    from llguidance import LLMatcher

    # Only an object has room for options; `true` and `false` say the same in one.
    text = {"true": "{}", "false": '{"enum":[]}'}.get(schema, schema)
    return LLMatcher.grammar_from_json_schema(text, overrides=_OPTIONS)

"""The form of an answer as a grammar of llguidance's, within limits; whatever that cannot hold is refused.

Knows nothing of tokenizers. Source: llguidance's docs/json_schema.md and docs/syntax.md.
"""

import json
import re
from typing import TYPE_CHECKING

from engine.api.errors import RequestError
from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex, ResponseFormat
from engine.api.settings import ConstraintLimits
from engine.constrain.calls import Calls, calls_grammar
from engine.constrain.constraint import GrammarConstraint
from engine.constrain.json_grammar import schema_grammar
from engine.constrain.schema import check_schema, close_objects, places
from engine.constrain.trial import try_out

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_MOST_LEXER_STATES = 50_000
"""Of 1-2 kB each."""
_ANY_OBJECT = '{"type":"object"}'
_EMBEDDED = re.compile(r"%json\s*(?=\{)")
_LONGEST_GIST = 200
_ENDLESS = re.compile(r'"(?:pattern|patternProperties|multipleOf)":|&|~|%regex')
"""What is put together of several that have to hold at once takes a time that nobody can tell before."""
_TEMPERATURE = re.compile(r"^\s*\w+\[[^\]]*\btemperature\s*=", re.MULTILINE)


Form = ResponseFormat | Calls
"""What an answer is held to."""


def build_constraint(form: Form, tokenizer: "LLTokenizer", limits: ConstraintLimits) -> GrammarConstraint:
    """May take long. Raises `RequestError` for what is too large, wrong, or cannot be enforced."""
    from llguidance import LLMatcher, LLParserLimits

    grammar = grammar_text(form, limits)
    if _ENDLESS.search(grammar):
        try_out(grammar, _MOST_LEXER_STATES, limits.compile_s)
    bounds = LLParserLimits(max_lexer_states=_MOST_LEXER_STATES, verbose_errors=False)
    matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=bounds)
    if matcher.is_error():
        raise _refusal(form, matcher.get_error())
    # What was left out without saying so is as bad as what cannot be read.
    if warnings := matcher.get_grammar_warnings():
        raise _refusal(form, warnings[0])
    return GrammarConstraint(matcher)


def grammar_text(form: Form, limits: ConstraintLimits) -> str:
    match form:
        case JsonObject():
            return schema_grammar(_ANY_OBJECT)
        case JsonSchema(text, strict):
            _check_size("JSON schema", len(text.encode()), limits.max_schema_bytes, "bytes")
            schema = json.loads(text)
            check_schema(schema, limits)
            return schema_grammar(json.dumps(close_objects(schema)) if strict else text)
        case Regex(pattern):
            _check_size("regular expression", len(pattern), limits.max_regex_length, "characters")
            return _of_regex(pattern)
        case Choice(options):
            _check_size("choice", len(options), limits.max_enum_values, "texts")
            _check_size("choice", len("".join(options).encode()), limits.max_grammar_bytes, "bytes")
            return _of_regex("|".join(map(_literal, options)))
        case Grammar(text):
            _check_size("grammar", len(text.encode()), limits.max_grammar_bytes, "bytes")
            _check_grammar(text, limits)
            # Not `grammar_from_lark`, which takes llguidance's own JSON as well.
            return json.dumps({"grammars": [{"lark_grammar": text}]})
        case Calls(otherwise=None):
            return calls_grammar(form, limits)
        case Calls(otherwise=otherwise):
            return calls_grammar(form, limits, json.loads(grammar_text(otherwise, limits)))


def _of_regex(pattern: str) -> str:
    from llguidance import LLMatcher

    return LLMatcher.grammar_from_regex(pattern)


def _literal(text: str) -> str:
    """A regular expression that matches `text` and nothing else."""
    return "".join(letter if letter.isascii() and letter.isalnum() else f"\\x{{{ord(letter):x}}}" for letter in text)


def _check_grammar(text: str, limits: ConstraintLimits) -> None:
    """Schemas in a grammar are held to what schemas are; a temperature of its own no rule can have."""
    if _TEMPERATURE.search(text):
        raise RequestError(
            "The grammar gives a rule a temperature, which is not honoured.",
            "Set one temperature for the answer.",
            code="unsupported_grammar",
        )
    for found in _EMBEDDED.finditer(text):
        try:
            schema, _ = json.JSONDecoder().raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue  # not JSON: llguidance says where, or it stands in a string
        check_schema(schema, limits)


def _check_size(name: str, size: int, most: int, unit: str) -> None:
    if size > most:
        raise RequestError(
            f"The {name} has {size:,} {unit}; at most {most:,} are taken.", "Make it smaller.", code="format_too_large"
        )


_NAMES = {
    JsonSchema: "JSON schema",
    Regex: "regular expression",
    Choice: "choice",
    Grammar: "grammar",
    Calls: "schema of a tool",
}
_HINTS = {
    Regex: "Look-around, back-references, \\b and anchors in the middle are not taken; it is matched as a whole.",
    Grammar: "It is written as Lark writes grammars, with its first rule called start.",
}
_ONE_OF = "Options of oneOf have to differ in a required property's const, or in their type. Or use anyOf."


def _refusal(form: Form, reason: str) -> RequestError:
    kind = type(form)
    said, hint = _gist(reason), _HINTS.get(kind, "Correct it.")
    if isinstance(form, JsonSchema) and "oneOf" in said:
        where = ", ".join(places(json.loads(form.schema), "oneOf"))
        said, hint = f"alternatives that may hold at the same time, at {where}", _ONE_OF
    return RequestError(f"The {_NAMES.get(kind, 'form')} cannot be enforced: {said}.", hint, code="bad_format")


def _gist(reason: str) -> str:
    """Of a message that may draw its place with characters, and list all tokens of a model."""
    lines = [line.strip() for line in reason.splitlines()] or [""]
    found = next((line for line in lines if line.startswith("error:")), lines[0])
    gist = found.removeprefix("error:").partition("; following")[0].strip().rstrip(".")
    return gist if len(gist) <= _LONGEST_GIST else f"{gist[:_LONGEST_GIST]}…"

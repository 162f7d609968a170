"""Calls in every way of writing that is known: a model that says anything says what its parser reads, by the schema."""

import importlib
import json
from dataclasses import replace

import jsonschema
import mlx.core as mx
import numpy as np
import pytest

from engine.api.errors import RequestError
from engine.api.response_format import Choice, Grammar, JsonObject, JsonSchema, Regex
from engine.api.settings import ConstraintLimits, SamplingSettings
from engine.api.tools import Tool
from engine.constrain.calls import Calls
from engine.constrain.grammars import build_constraint
from engine.constrain.layouts import Apart, Bare, find_layout
from engine.constrain.reading import read_calls
from engine.run.sampler import Sampler
from engine.run.tools import openai_tools
from tests.constrain.answering import play
from tests.run.test_tools import WRITTEN

LIMITS = ConstraintLimits()
CONTROL = 258
WORDS = "<|assistant|>"
"""A control token of the tiny models."""
SIZE = 300
WARM = SamplingSettings(temperature=1.0)
PARAMETERS = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "description": "Where."},
        "unit": {"enum": ["C", "F<"], "type": "string"},
        "days": {"type": "integer", "minimum": 1, "maximum": 20},
        "exact": {"type": "boolean"},
        "limit": {"anyOf": [{"type": "number"}, {"type": "null"}]},
    },
    "required": ["city", "days"],
}
NESTED = {
    "type": "object",
    "properties": {
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 2},
        "at": {"$ref": "#/$defs/Point"},
        "from": {"type": "array", "items": {"$ref": "#/$defs/Point"}, "maxItems": 1},
    },
    "required": ["at"],
    "$defs": {
        "Point": {
            "type": "object",
            "properties": {"x": {"type": "integer"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Point"}]}},
            "required": ["x", "next"],
        }
    },
}
WEATHER = Tool("get_weather", "", json.dumps(PARAMETERS))
NEAR = Tool("get", "", json.dumps(NESTED))
CLOCK = Tool("get_time")
FLAT = ("function_gemma",)
WAYS = (
    "json_tools",
    "qwen3_coder",
    "glm47",
    "gemma4",
    "pythonic",
    "minimax_m2",
    "mistral",
    "kimi_k2",
    "longcat",
    "kimi_k3",
    "minicpm5",
    "function_gemma",
)
TEMPLATES = {name: [""] for name in WAYS} | {"mistral": ["[ARGS]", ""], "glm47": ["</arg_key>\n", ""]}
NATIVE = WRITTEN | {
    "minimax_m2": '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
    '<parameter name="days">2</parameter>\n</invoke>\n</minimax:tool_call>',
    "longcat": "<longcat_tool_call>get_weather\n<longcat_arg_key>city</longcat_arg_key>\n"
    "<longcat_arg_value>Paris</longcat_arg_value>\n<longcat_arg_key>days</longcat_arg_key>\n"
    "<longcat_arg_value>2</longcat_arg_value>\n</longcat_tool_call>",
}
"""As the models' templates have it; mlx-lm's parsers take more than that."""
WRITINGS = [(name, template) for name in WAYS for template in TEMPLATES[name]]


def parser(name):
    return importlib.import_module(f"mlx_lm.tool_parsers.{name}")


def calls(name, template="", tools=(WEATHER, NEAR, CLOCK), **options):
    module = parser(name)
    tools = tuple(tool for tool in tools if tool is not NEAR or name not in FLAT)
    layout = find_layout(name, template)
    # Where texts end with a control token, it is one here.
    control = {layout.call.quote: CONTROL} if isinstance(layout.call, Bare) else {}
    return Calls(layout, module.tool_call_start, module.tool_call_end, tools, **{"control": control} | options)


def said(tiny, form, seed, liking=(), most=4000):
    """What a model says that likes some letters, at random."""
    noise = np.random.default_rng(seed)
    likes = np.zeros((1, SIZE), np.float32)
    likes[0, [token for letter in liking for token in tiny.ids(letter)]] = 4.0
    likes[0, list(tiny.ends)] = 8.0
    likes[0, CONTROL] = 4.0
    constraint = build_constraint(form, tiny.tokens, LIMITS)
    sampler = Sampler(WARM, mx.array([0]), seed=seed, logprobs=False, constraint=constraint)
    [ids] = play(
        [sampler], lambda _: mx.array(likes + noise.normal(0, 1, (1, SIZE)).astype(np.float32)), tiny.ends, most
    )
    assert sampler.complete or ids[-1] in tiny.ends, tiny.text(ids)
    words = next(iter(form.control), "")
    return tiny.text(ids).replace(WORDS, words) if isinstance(form, Calls) else tiny.text(ids)


def blocks(form, text):
    """What stands between the markers."""
    assert text.lstrip().startswith(form.start)
    pieces = text.split(form.start)[1:]
    if not form.end:
        return pieces
    assert all(piece.rstrip().endswith(form.end) for piece in pieces)
    return [piece.rstrip().removesuffix(form.end) for piece in pieces]


def read(name, form, block):
    tools = openai_tools(form.tools)
    if isinstance(form.layout.call, Apart):
        return read_calls(block, form.layout, tools)
    found = parser(name).parse_tool_call(block, tools)
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("name", "template"), WRITINGS)
def test_what_is_said_is_read_and_follows_the_schema(tiny, name, template, seed):
    form = calls(name, template)
    schemas = {tool.name: json.loads(tool.parameters) for tool in form.tools}
    # Ends of everything that has one, so that no text goes on for ever.
    text = said(tiny, form, seed, liking='"<|/>}])\n')
    found = [call for block in blocks(form, text) for call in read(name, form, block)]
    assert found
    for call in found:
        jsonschema.validate(call["arguments"], schemas[call["name"]])
        assert set(call["arguments"]) <= set(schemas[call["name"]]["properties"])


@pytest.mark.parametrize("name", [name for name in WAYS if isinstance(find_layout(name, "").call, Apart)])
def test_a_held_call_is_what_mlx_lm_reads(tiny, name):
    """Where no value could be taken for another, the two readers agree."""
    plain = {
        "type": "object",
        "properties": {"city": {"enum": ["Paris", "Rome"], "type": "string"}, "days": {"type": "integer"}},
    }
    form = calls(name, tools=(Tool("weather", "", json.dumps({**plain, "required": ["city", "days"]})),))
    for seed in range(3):
        for block in blocks(form, said(tiny, form, seed, liking="\n,>")):
            found = parser(name).parse_tool_call(block, openai_tools(form.tools))
            assert (found if isinstance(found, list) else [found]) == read(name, form, block)


@pytest.mark.parametrize("name", NATIVE)
def test_what_models_write_is_allowed(tiny, name):
    written = NATIVE[name]
    form = calls(name, "[ARGS]", (WEATHER, CLOCK), control={})
    assert tiny.allows(form, written)
    assert tiny.allows(form, f"\n\n{written}")
    assert not tiny.allows(form, f"Well. {written}")
    assert not tiny.allows(form, written.replace("get_weather", "get_whether"))
    assert not tiny.allows(form, written.replace("2", "99")), "more days than the schema allows"


@pytest.mark.parametrize("name", ["json_tools", "qwen3_coder", "kimi_k2", "minimax_m2", "pythonic", "mistral"])
def test_several_calls_where_several_may_be_made(tiny, name):
    form = calls(name, "[ARGS]", (WEATHER, CLOCK), control={})
    once = NATIVE[name].removeprefix(form.start).removesuffix(form.end or "\0")
    layout = form.layout
    if layout.between is None:
        twice = "\n".join((NATIVE[name], NATIVE[name]))
    else:
        one = once.removeprefix(layout.opening).removesuffix(layout.closing)
        twice = f"{form.start}{layout.opening}{one}{layout.between}{one}{layout.closing}{form.end}"
    assert tiny.allows(form, twice)
    single = replace(form, several=False)
    assert tiny.allows(single, NATIVE[name])
    assert not tiny.allows(single, twice)


def test_a_marker_that_is_a_control_token_is_that_token(tiny):
    form = calls("json_tools", tools=(CLOCK,), control={"<tool_call>": CONTROL}, several=False)
    constraint = tiny.constraint(form)
    allowed = set(np.flatnonzero(np.array(constraint.mask(SIZE))[0]).tolist())
    assert CONTROL in allowed
    assert tiny.ids("<")[0] not in allowed
    constraint.accept(CONTROL)
    for token in tiny.ids('\n{"name": "get_time", "arguments": {}}\n</tool_call>'):
        constraint.accept(token)
    assert constraint.stopped


OTHERWISE = {
    "schema": (JsonSchema.of({"type": "object", "properties": {"a": {"type": "integer"}}}), '{"a":1}', '{"a":"x"}'),
    "any object": (JsonObject(), '{"b": []}', "[]"),
    "regular expression": (Regex("[a-d]{3}|x/y"), "x/y", "x/z"),
    "choice": (Choice(("yes", "no")), "no", "maybe"),
    "grammar": (Grammar('start: "go" (" " WHERE)+\nWHERE: "up" | "down"'), "go up down", "go home"),
}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize("kind", OTHERWISE)
def test_an_answer_may_be_a_call_or_have_its_form(tiny, name, kind):
    otherwise, allowed, forbidden = OTHERWISE[kind]
    alone = calls(name, "[ARGS]", (WEATHER, CLOCK), control={})
    form = replace(alone, otherwise=otherwise)
    assert tiny.allows(form, allowed)
    assert not tiny.allows(form, forbidden)
    assert not tiny.allows(alone, allowed)
    if name in NATIVE:
        assert tiny.allows(form, NATIVE[name])
        assert not tiny.allows(form, NATIVE[name] + allowed)


def one(**properties):
    return Tool("strange", "", json.dumps({"type": "object", "properties": properties}))


STRANGE = [
    ("qwen3_coder", Tool("strange", "", '{"anyOf": [{"required": ["a"]}]}'), "'anyOf'"),
    ("pythonic", Tool("strange", "", '{"required": ["a"]}'), "requires 'a'"),
    ("glm47", Tool("strange", "", '{"additionalProperties": {"type": "string"}}'), "any name"),
    ("minimax_m2", one(**{'a"b': {}}), "'a\"b'"),
    ("gemma4", one(**{"a-b": {}}), "'a-b'"),
    ("gemma4", one(a={"type": "string", "minLength": 2}), "'minLength' of a text"),
    ("gemma4", one(a={"type": "array", "items": {"type": "null"}, "prefixItems": []}), "'prefixItems' of a list"),
    ("gemma4", one(a={}), "nothing of its type"),
    ("gemma4", one(a={"$ref": "#/$defs/none"}), "$ref"),
    ("function_gemma", one(a={"type": "object"}), "the type 'object'"),
    ("function_gemma", one(a={"type": "array", "items": {}}), "the type 'array'"),
    ("json_tools", one(a={"not": {}}), "'not' at strange#/properties/a"),
]


@pytest.mark.parametrize(("name", "tool", "words"), STRANGE)
def test_arguments_that_cannot_be_written_are_refused_by_name(tiny, name, tool, words):
    with pytest.raises(RequestError) as caught:
        tiny.constraint(calls(name, tools=(CLOCK, tool)))
    assert words in caught.value.message
    assert "strange" in caught.value.message
    assert (caught.value.code, bool(caught.value.hint)) == ("unsupported_schema", True)


def test_schemas_of_tools_are_held_to_the_limits(tiny):
    tool = Tool("large", "", json.dumps({"type": "object", "title": "x" * 500}))
    with pytest.raises(RequestError, match="tool large has") as caught:
        build_constraint(calls("json_tools", tools=(tool,)), tiny.tokens, ConstraintLimits(max_schema_bytes=300))
    assert caught.value.code == "format_too_large"

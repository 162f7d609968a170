"""Calls in every way of writing that is known: a model that says anything says what its parser reads, by the schema."""

import importlib
import json

import jsonschema
import mlx.core as mx
import numpy as np
import pytest

from engine.api.settings import ConstraintLimits, SamplingSettings
from engine.api.tools import Tool
from engine.constrain.calls import Calls
from engine.constrain.grammars import build_constraint
from engine.constrain.layouts import Apart, Bare, find_layout
from engine.constrain.reading import read_calls
from engine.run.sampler import Sampler
from engine.run.tools import openai_tools
from tests.constrain.answering import play

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

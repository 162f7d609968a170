"""What a soak asks of the engine: models of every kind of cache, and requests drawn at random from all there is.

Knows nothing of engines: everything here is plain data, the same for the same seed.
"""

import io
import json
import random
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from engine.api.request import MOST_CHOICES, GenerateRequest, Image, Message, Priority, Role, Text
from engine.api.response_format import Choice, JsonSchema, Regex
from engine.api.settings import SamplingSettings
from engine.api.tools import Tool, ToolChoice
from engine.loading.tiny import write_tiny_decoder, write_tiny_llama, write_tiny_smolvlm
from tests.tiny_decoders import CONFIGS


def write_caller(folder: Path) -> Path:
    """A text model that is told of tools, and of thinking where it is asked for."""
    write_tiny_llama(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    told = "{% for tool in tools or [] %}{{ tool.function.name }}{% endfor %}{# <tool_call> <think> </think> #}"
    asked = "{% if enable_thinking %}<think>{% endif %}"
    path.write_text(json.dumps({**settings, "chat_template": told + settings["chat_template"] + asked}))
    return folder


MODELS = {
    "text": write_tiny_llama,
    "calls": write_caller,
    "pictures": write_tiny_smolvlm,
    "windows": lambda folder: write_tiny_decoder(folder, "gemma3_text", **WINDOWS),
    "recurrent": lambda folder: write_tiny_decoder(folder, "qwen3_next", **RECURRENT),
}
WINDOWS = {"num_hidden_layers": 3, "head_dim": 8, "sliding_window": 24, "sliding_window_pattern": 3}
# Experts are chosen by the largest number, too, so a model without: rounding must have one place only where it counts.
RECURRENT = {**CONFIGS["qwen3_next"], "head_dim": 8, "mlp_only_layers": [0, 1, 2, 3]}

SYSTEM = "You are a patient assistant who looks twice and answers once. "
TOPICS = ("The quick brown fox", "Notes on lighthouses, their keepers and their lamps", "7 8 9")
REPETITION = Regex("(hear ){4}")
"""Can be guessed from what was said before."""
FORMS = (
    Regex("[a-f]{3,9}"),
    REPETITION,
    Choice(("left", "right", "neither of them")),
    JsonSchema(json.dumps({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})),
)
CLOCK = Tool("now")
LAMP = Tool("lamp", "", json.dumps({"type": "object", "properties": {"lit": {"type": "boolean"}}, "required": ["lit"]}))
CALLING = (
    {"tool_choice": ToolChoice.REQUIRED, "max_tokens": 120},
    {"tool_choice": "now", "max_tokens": 110},
    {"tool_choice": "lamp"},
    {"response_format": FORMS[0], "max_tokens": 100},
    {"response_format": FORMS[3], "tool_choice": ToolChoice.NONE},
    {},
)
SAMPLING = (
    {"temperature": 0.0},
    {"temperature": 0.0, "repetition_penalty": 1.3},
    {"temperature": 0.0, "no_repeat_ngram_size": 2},
    {"temperature": 0.9},
    {"temperature": 1.2, "top_k": 20},
    {"temperature": 1.0, "top_p": 0.8},
    {"temperature": 1.5, "min_p": 0.1, "presence_penalty": 0.7, "frequency_penalty": 0.3},
    {"temperature": 1.0, "xtc_probability": 0.5, "xtc_threshold": 0.05},
    {"temperature": 1.0, "logit_bias": ((65, 4.0), (66, -100.0))},
)


@dataclass(frozen=True)
class Broken:
    """A request that has to fail, and how."""

    request: GenerateRequest
    code: str


def draw_request(rng: random.Random, *, pictures: bool, tools: bool) -> GenerateRequest:
    """Begins like many others, and is like none of them in the end. With `tools` some are to be called, and thoughts
    may come first."""
    request = _draw_request(rng, pictures)
    if tools and rng.random() < 0.5:
        request = replace(request, tools=(CLOCK, LAMP), **rng.choice(CALLING))
    if tools and rng.random() < 0.3:
        thinks = (("enable_thinking", True),)
        request = replace(request, template_options=thinks, thinking_budget=rng.choice((0, 3, 9)))
    return request


def _draw_request(rng: random.Random, pictures: bool) -> GenerateRequest:
    turns = [Message(Role.SYSTEM, (Text(SYSTEM * rng.choice((0, 1, 2))),))] if rng.random() < 0.7 else []
    for _ in range(rng.choice((0, 0, 1, 2))):
        turns += [_question(rng, pictures), Message(Role.ASSISTANT, (Text(rng.choice(TOPICS)),))]
    turns.append(_question(rng, pictures))
    return GenerateRequest(
        tuple(turns),
        max_tokens=rng.randint(1, 24),
        stop=(chr(rng.randint(97, 122)),) if rng.random() < 0.2 else (),
        sampling=SamplingSettings(**rng.choice(SAMPLING), seed=rng.randrange(1 << 32)),
        logprobs=rng.random() < 0.3,
        response_format=rng.choice(FORMS) if rng.random() < 0.15 else None,
        priority=rng.choice(tuple(Priority)),
        tenant=rng.choice(("", "", "north", "south")),
        n=rng.choice((1, 1, 1, 1, 2, 3)),
    )


def repetitive_request(rng: random.Random, *, pictures: bool, tools: bool) -> GenerateRequest:
    """One whose answer can be guessed ahead of the model when it is alone."""
    sampling = SamplingSettings(temperature=0.0)
    changes = {"max_tokens": 24, "stop": (), "sampling": sampling, "response_format": REPETITION, "n": 1}
    return replace(_draw_request(rng, pictures), **changes)


def broken_requests(*, pictures: bool) -> tuple[Broken, ...]:
    torn = GenerateRequest((Message(Role.USER, (Image(b"not a picture"), Text("What is it?"))),), max_tokens=5)
    whole = _asks("A question.")
    return (
        Broken(torn, "bad_media" if pictures else "unsupported_media"),
        Broken(_asks("long " * 120), "context_length_exceeded"),
        Broken(replace(whole, response_format=Regex("(unclosed")), "bad_format"),
        Broken(replace(whole, sampling=SamplingSettings(logit_bias=((100_000, 1.0),))), "bad_request"),
        Broken(replace(whole, n=MOST_CHOICES, max_tokens=450), "not_enough_memory"),
    )


def _asks(text: str) -> GenerateRequest:
    return GenerateRequest((Message(Role.USER, (Text(text),)),), max_tokens=5)


def _question(rng: random.Random, pictures: bool) -> Message:
    seen = tuple(_picture(rng.randrange(5)) for _ in range(rng.choice((0, 1, 1, 2)))) if pictures else ()
    return Message(Role.USER, (*seen, Text(rng.choice(TOPICS) + "?" * rng.randint(1, 9))))


def _picture(number: int) -> Image:
    height, width = ((16, 16), (20, 40), (40, 20), (31, 33), (12, 50))[number]
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3), np.uint8)
    data = io.BytesIO()
    PILImage.fromarray(pixels).save(data, "PNG")
    return Image(data.getvalue())

"""The Python API: mlx-vlm's call shapes, on tiny random models through the real engine."""

import json
import shutil
import subprocess
import sys
from copy import copy
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

import engine
from engine import apply_chat_template, batch_generate, generate, load, load_config, stream_generate
from engine.api.errors import EngineError, MediaError, RequestError
from engine.api.response_format import Choice
from engine.api.settings import EngineSettings
from engine.api.tools import Tool, ToolChoice
from engine.loading.tiny import write_tiny_smolvlm
from engine.python.loading import Processor
from engine.python.request import answer_request, images_of
from engine.run.template import ChatTemplate

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def text_model(tiny_llama):
    model, processor = load(tiny_llama)
    with model:
        yield model, processor


@pytest.fixture(scope="module")
def seeing_model(tmp_path_factory):
    model, processor = load(write_tiny_smolvlm(tmp_path_factory.mktemp("tiny-smolvlm")))
    with model:
        yield model, processor


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "red.png"
    Image.new("RGB", (40, 30), "red").save(path)
    return path


def in_a_fresh_process(program):
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_importing_costs_nothing():
    program = "import sys, engine; print([name for name in ('mlx', 'transformers', 'numpy') if name in sys.modules])"
    assert in_a_fresh_process(program) == "[]"


def test_load_is_the_function_whatever_was_imported_before():
    program = "import engine.loading.config; from engine import load; print(load.__module__)"
    assert in_a_fresh_process(program) == "engine.python.loading"


def test_there_is_nothing_else_in_the_api():
    with pytest.raises(AttributeError, match="no attribute 'convert'"):
        engine.convert  # noqa: B018


def test_the_likeliest_tokens_come_with_an_answer(text_model):
    prompt = apply_chat_template(text_model[1], text_model[0].config, "Hello")
    options = {"max_tokens": 5, "temperature": 0.0, "top_logprobs": 3}
    result = generate(*text_model, prompt, **options)
    assert [len(likely) for likely in result.top_logprobs] == [3] * len(result.token_ids)
    assert [likely[0].token_id for likely in result.top_logprobs] == result.token_ids, "greedy"
    assert all(token.bytes for likely in result.top_logprobs for token in likely)
    streamed = [likely for piece in stream_generate(*text_model, prompt, **options) for likely in piece.top_logprobs]
    ids = [[token.token_id for token in likely] for likely in streamed]
    assert ids == [[token.token_id for token in likely] for likely in result.top_logprobs]
    assert generate(*text_model, prompt, max_tokens=2).top_logprobs == []


def test_an_answer(text_model):
    prompt = apply_chat_template(text_model[1], text_model[0].config, "Hello")
    result = generate(*text_model, prompt, max_tokens=6, temperature=0.0)
    assert result.finish_reason in ("stop", "length")
    assert 1 <= result.generation_tokens == len(result.token_ids) == len(result.logprobs) <= 6
    assert all(logprob <= 0 for logprob in result.logprobs)
    assert result.token == result.token_ids[-1]
    assert result.total_tokens == result.usage.prompt_tokens + result.usage.completion_tokens
    assert result.timings.ttft_s > 0
    assert result.peak_memory > 0


def test_the_stream_adds_up_to_the_answer(text_model):
    whole = generate(*text_model, "abc", max_tokens=6)
    pieces = list(stream_generate(*text_model, "abc", max_tokens=6))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert [token for piece in pieces for token in piece.token_ids] == whole.token_ids
    assert [piece.finish_reason for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert pieces[-1].finish_reason == whole.finish_reason
    assert replace(pieces[-1].usage, cached_tokens=0) == whole.usage


def test_a_stream_that_is_closed_stops_the_model(text_model):
    stream = stream_generate(*text_model, "abc", max_tokens=400)
    next(stream)
    stream.close()
    assert generate(*text_model, "abc", max_tokens=2).generation_tokens <= 2


def test_sampling_reaches_the_model(text_model):
    def drawn(seed):
        return generate(*text_model, "abc", max_tokens=8, temperature=2.0, top_p=0.99, seed=seed).token_ids

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(4)}) > 1


def test_stop_ends_the_answer(text_model):
    whole = generate(*text_model, "abc", max_tokens=8).text
    stopped = generate(*text_model, "abc", max_tokens=8, stop=whole[2])
    assert stopped.text == whole[: whole.index(whole[2])]
    assert stopped.finish_reason == "stop"


def test_verbose_prints_what_mlx_vlm_prints(text_model, capsys):
    result = generate(*text_model, "abc", max_tokens=3, verbose=True)
    out = capsys.readouterr().out
    assert out.startswith(result.text)
    assert f"Generation: {result.generation_tokens} tokens" in out


@pytest.mark.parametrize("form", ["path", "text", "list", "bytes", "pil"])
def test_pictures_in_every_form(seeing_model, picture, form):
    model, processor = seeing_model
    image = {
        "path": picture,
        "text": str(picture),
        "list": [str(picture)],
        "bytes": picture.read_bytes(),
        "pil": Image.new("RGB", (40, 30), "red"),
    }[form]
    prompt = apply_chat_template(processor, model.config, "What?", num_images=1)
    result = generate(model, processor, prompt, image=image, max_tokens=2)
    assert result.usage.image_tokens > 0
    assert result.token_ids == generate(model, processor, prompt, image=str(picture), max_tokens=2).token_ids


@pytest.mark.parametrize("mode", ["CMYK", "P", "LA", "HSV"])
def test_pillow_pictures_of_any_mode_are_upright(mode):
    turned = Image.new("RGB", (8, 4), "red").convert("L" if mode == "LA" else "RGB").convert(mode)
    turned.getexif()[0x0112] = 6
    sent = images_of(turned)[0].source
    with Image.open(BytesIO(sent)) as picture:
        assert picture.size == (4, 8)


def test_a_prompt_without_a_place_for_its_picture(seeing_model, picture):
    with pytest.raises(RequestError, match="apply_chat_template"):
        generate(*seeing_model, "What?", image=picture)


def test_fewer_places_than_pictures(seeing_model, picture):
    prompt = apply_chat_template(seeing_model[1], None, "What?", num_images=1)
    with pytest.raises(EngineError, match="num_images"):
        generate(*seeing_model, prompt, image=[picture, picture])


def test_a_picture_that_is_not_there(seeing_model):
    with pytest.raises(MediaError, match=r"nowhere\.png"):
        generate(*seeing_model, "<image>", image="nowhere.png")


def test_a_batch_is_each_question_by_itself(seeing_model, picture):
    model, processor = seeing_model
    batch = batch_generate(model, processor, [picture], prompts=["What?", "Why?"], max_tokens=[4, 3])
    singles = [
        generate(model, processor, apply_chat_template(processor, None, "What?", num_images=1), picture, max_tokens=4),
        generate(model, processor, apply_chat_template(processor, None, "Why?"), max_tokens=3),
    ]
    assert [result.token_ids for result in batch.results] == [result.token_ids for result in singles]
    assert batch.texts == [result.text for result in singles]


def test_more_pictures_than_questions(seeing_model, picture):
    with pytest.raises(RequestError, match="2 pictures"):
        batch_generate(*seeing_model, [picture, picture], prompts=["What?"])


@pytest.mark.parametrize("function", [generate, stream_generate, batch_generate])
def test_unknown_arguments_are_named(function, text_model):
    arguments = {"prompts": ["x"]} if function is batch_generate else {"prompt": "x"}
    with pytest.raises(TypeError, match=f"{function.__name__}.*'temprature'"):
        function(*text_model, **arguments, temprature=1.0)


@pytest.mark.parametrize(("name", "value"), [("kv_bits", 4), ("draft_model", "x"), ("audio", ["a.wav"])])
def test_what_is_not_built_is_refused_by_name(name, value, text_model):
    with pytest.raises(RequestError, match=name):
        generate(*text_model, "x", **{name: value})


def test_an_answer_is_held_to_a_form(text_model):
    options = {"max_tokens": 50, "temperature": 1.0, "seed": 1, "logit_bias": {97: -1.0}}
    text = generate(*text_model, "x", response_format=Choice(("left", "right")), **options).text
    assert text in ("left", "right")
    with pytest.raises(TypeError, match=r"response_format.*dict"):
        generate(*text_model, "x", response_format={"type": "json_object"})


def test_a_bias_may_be_a_mapping(text_model):
    held = {"max_tokens": 3, "temperature": 0.0}
    assert generate(*text_model, "x", logit_bias={65: 100.0}, **held).token_ids == [65] * 3
    with pytest.raises(RequestError, match="logit_bias"):
        generate(*text_model, "x", logit_bias={65: float("nan")})


def test_what_asks_for_nothing_passes(text_model):
    generate(*text_model, "x", max_tokens=1, audio=None, video=[], kv_bits=None, skip_special_tokens=True)


def test_loading_runs_no_code_and_ignores_nothing(tiny_llama):
    with pytest.raises(RequestError, match="trust_remote_code"):
        load(tiny_llama, trust_remote_code=True)
    with pytest.raises(TypeError, match="'dtype'"):
        load(tiny_llama, dtype="float16")


def test_all_that_load_gives_is_of_the_revision_that_was_named(tiny_llama, tmp_path):
    repository = tmp_path / "models--org--model"
    for commit, name in (("a" * 40, "main"), ("b" * 40, "v2")):
        shutil.copytree(tiny_llama, repository / "snapshots" / commit)
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / name).write_text(commit)
    config = repository / "snapshots" / ("b" * 40) / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "bos_token_id": 7}))
    with load("org/model", revision="v2", settings=EngineSettings(hub_cache=tmp_path))[0] as model:
        assert model.config.bos_token_id == 7


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(EngineError, match=r"config\.json"):
        load(tmp_path)


def test_a_closed_model_says_so(tiny_llama):
    model, processor = load(tiny_llama)
    model.close()
    with pytest.raises(EngineError, match="shut down"):
        generate(model, processor, "x")


def test_the_config_as_it_stands(tiny_llama, text_model):
    assert load_config(tiny_llama)["model_type"] == text_model[0].config.model_type == "llama"


TURNS = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "One"},
    {"role": "assistant", "content": [{"type": "text", "text": "1"}]},
    "Two",
]


def test_a_conversation_as_messages(seeing_model):
    messages = apply_chat_template(seeing_model[1], None, TURNS, return_messages=True, num_images=1)
    assert messages[:3] == [*TURNS[:2], {"role": "assistant", "content": "1"}]
    assert messages[3] == {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Two"}]}


def test_pictures_with_a_part_of_their_own_stay_there(seeing_model):
    turns = [{"role": "user", "content": [{"type": "text", "text": "A"}, {"type": "image_url"}]}, "B"]
    messages = apply_chat_template(seeing_model[1], None, turns, return_messages=True, num_images=2)
    assert [len(message["content"]) for message in messages] == [2, 2]
    assert apply_chat_template(seeing_model[1], None, turns, num_images=2).count(seeing_model[1].marker) == 2


HERMES = (
    "{% for tool in tools or [] %}[{{ tool | tojson }}]{% endfor %}{% for m in messages %}<{{ m.role }}>{{ m.content }}"
    "{% for call in m.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{% endfor %}"
)
CLOCK = {"type": "function", "function": {"name": "get_time", "description": "d", "parameters": {"type": "object"}}}
CALLED = [
    {"role": "user", "content": "When?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "get_time", "arguments": '{"zone": "UTC"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "noon"},
]


@pytest.fixture
def knowing(text_model):
    tokenizer = copy(text_model[1].tokenizer)
    tokenizer._tokenizer = copy(tokenizer._tokenizer)
    tokenizer._tokenizer.chat_template = HERMES
    return Processor(tokenizer, ChatTemplate(tokenizer, None, None), None)


def test_tools_and_their_calls_reach_the_template(knowing):
    text = apply_chat_template(knowing, None, CALLED, tools=[CLOCK])
    assert text == (
        f"[{json.dumps(CLOCK)}]<user>When?<assistant><tool_call>"
        '{"name": "get_time", "arguments": {"zone": "UTC"}}</tool_call><tool>noon'
    )


def test_calls_and_results_as_messages(knowing):
    shown = apply_chat_template(knowing, None, CALLED, return_messages=True)
    assert shown == [CALLED[0], {**CALLED[1], "content": ""}, CALLED[2]]


def test_tools_that_the_template_does_not_know_are_refused(text_model):
    with pytest.raises(RequestError, match="knows no tools"):
        apply_chat_template(text_model[1], None, "When?", tools=[CLOCK])
    with pytest.raises(RequestError, match="knows no calls"):
        apply_chat_template(text_model[1], None, CALLED)


@pytest.mark.parametrize(
    "call", [{}, "get_time", {"function": {"arguments": {}}}, {"function": {"name": "x", "arguments": "{"}}]
)
def test_calls_of_another_shape_are_refused(call, knowing):
    with pytest.raises(RequestError, match="call"):
        apply_chat_template(knowing, None, [{"role": "assistant", "content": "", "tool_calls": [call]}])


def test_a_budget_and_tools_are_part_of_the_request(text_model):
    options = {"thinking_budget": 3, "tools": [CLOCK]}
    request = answer_request("generate", text_model[1], "x", None, None, options)
    assert request.thinking_budget == 3
    assert request.tools == (Tool("get_time", "d", '{"type": "object"}'),)


@pytest.mark.parametrize("choice", [*ToolChoice, "get_time"])
def test_a_choice_of_tools_is_part_of_the_request(choice, text_model):
    word = choice if isinstance(choice, str) else choice.value
    for given in (choice, word):
        request = answer_request("generate", text_model[1], "x", None, None, {"tools": [CLOCK], "tool_choice": given})
        assert request.tool_choice == choice
    assert answer_request("generate", text_model[1], "x", None, None, {}).tool_choice is ToolChoice.AUTO


def test_a_single_message(text_model):
    assert apply_chat_template(text_model[1], None, {"content": "Hi"}) == apply_chat_template(text_model[1], None, "Hi")


@pytest.mark.parametrize(
    "turn", [{"role": "wizard", "content": "x"}, {"content": [{"type": "video"}]}, {"content": "x", "tool_calls": []}]
)
def test_messages_that_cannot_be_rendered(turn, text_model):
    with pytest.raises(RequestError):
        apply_chat_template(text_model[1], None, turn)


def test_the_processor_has_to_be_ours(text_model):
    with pytest.raises(TypeError, match="processor"):
        apply_chat_template(object(), None, "x")

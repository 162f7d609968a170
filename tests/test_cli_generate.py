"""`fovea generate`: every flag reaches the request, and every event the right stream."""

import io
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from engine.api.errors import CheckpointError, InternalError
from engine.api.events import (
    ChoiceEnd,
    Finished,
    FinishReason,
    Progress,
    Stage,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
)
from engine.api.request import GenerateRequest, Image, LoadModel, Role, Text
from engine.cli import main
from engine.commands.refused import REFUSED
from tests.fake_engine import INFO, TIMINGS, USAGE, WAIT, FakeEngine, fail, load, speak

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN", "FOVEA_RESOURCES", "FOVEA_MEMORY_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))


class Keyboard(io.StringIO):
    def isatty(self):
        return True


def fovea(engine, *words):
    return main(words, open_engine=engine.open)


def asked(*words):
    """The requests that these words lead to."""
    engine = FakeEngine()
    assert fovea(engine, "generate", *words) == 0
    return engine.requests


def test_loads_the_starter_and_asks(capsys):
    loading, request = asked("--prompt", "Who?")
    assert loading == LoadModel("starter", None, download=True)
    assert [message.role for message in request.prompt] == [Role.USER]
    assert request.prompt[0].parts == (Text("Who?"),)
    assert request.max_tokens == 2048
    assert request.stop == ()
    assert not request.logprobs
    assert dict(request.template_options) == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--temperature", "0.7"], "temperature", 0.7),
        (["--temperature", "0"], "temperature", 0.0),
        (["--top-p", "0.9"], "top_p", 0.9),
        (["--top-k", "40"], "top_k", 40),
        (["--min-p", "0.05"], "min_p", 0.05),
        (["--repetition-penalty", "1.1"], "repetition_penalty", 1.1),
        (["--repetition-context-size", "32"], "repetition_context_size", 32),
        (["--presence-penalty", "-0.5"], "presence_penalty", -0.5),
        (["--presence-context-size", "0"], "presence_context_size", 0),
        (["--frequency-penalty", "2"], "frequency_penalty", 2.0),
        (["--frequency-context-size", "9"], "frequency_context_size", 9),
        (["--xtc-probability", "0.5"], "xtc_probability", 0.5),
        (["--xtc-threshold", "0.2"], "xtc_threshold", 0.2),
        (["--seed", "7"], "seed", 7),
    ],
)
def test_sampling_flags(words, field, value):
    sampling = asked("--prompt", "x", *words)[1].sampling
    assert getattr(sampling, field) == value
    others = {name: getattr(sampling, name) for name in sampling.__dataclass_fields__ if name != field}
    assert set(others.values()) == {None}, "what is not asked for is left to the model"


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        (["--max-tokens", "5"], "max_tokens", 5),
        (["--stop", "END", "--stop", "a", "b"], "stop", ("END", "a", "b")),
        (["--enable-thinking"], "template_options", (("enable_thinking", True),)),
        (["--thinking-budget", "0"], "thinking_budget", 0),
        (["--json"], "logprobs", True),
        (["--skip-special-tokens"], "max_tokens", 2048),
    ],
)
def test_request_flags(words, field, value):
    assert getattr(asked("--prompt", "x", *words)[1], field) == value


def test_model_flags():
    assert asked("--prompt", "x", "--model", "a/b", "--revision", "v2")[0] == LoadModel("a/b", "v2", download=True)
    assert asked("--prompt", "x", "--draft-model", "c/d")[0].draft_model == "c/d"
    assert asked("--prompt", "x", "--model", "a/b", "--offline")[0] == LoadModel("a/b", None, download=False)


def test_the_environment_can_forbid_downloads(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert not asked("--prompt", "x")[0].download


def test_cache_flags_and_the_environment_become_settings(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    engine = FakeEngine()
    fovea(engine, "generate", "--prompt", "x", "--max-kv-size", "64", "--prefill-step-size", "16")
    assert engine.settings.cache.max_kv_size == 64
    assert engine.settings.cache.prefill_step_size == 16
    assert engine.settings.hub_cache == tmp_path / "hub"


def test_system_then_pictures_then_text(tmp_path):
    pictures = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for picture in pictures:
        picture.touch()
    a, b, c = map(str, pictures)
    request = asked("--system", "Be brief.", "--image", a, b, "--image", c, "--prompt", "What", "is this?")[1]
    system, user = request.prompt
    assert (system.role, system.text) == (Role.SYSTEM, "Be brief.")
    assert user.parts == (*(Image(picture, picture.name) for picture in pictures), Text("What is this?"))


def test_a_picture_needs_no_words_and_may_be_a_data_uri():
    uri = "data:image/png;base64,AAAA"
    assert asked("--image", uri)[1].prompt[0].parts == (Image(uri, "data: URI"),)


@pytest.mark.parametrize("words", [[], ["--prompt", "-"]])
def test_the_prompt_may_be_piped_in(words, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("from a file\n"))
    assert asked(*words)[1].prompt[0].text == "from a file\n"


def test_no_prompt_at_a_keyboard(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", Keyboard("never read"))
    engine = FakeEngine()
    assert fovea(engine, "generate") == 2
    assert "--prompt" in capsys.readouterr().err
    assert engine.settings is None


def test_text_streams_to_out_and_nothing_else_does(capsys):
    assert fovea(FakeEngine(), "generate", "--prompt", "x") == 0
    out, err = capsys.readouterr()
    assert out == "Hello world\n"
    assert err == ""


def test_each_piece_is_written_at_once(monkeypatch):
    class Out(io.StringIO):
        flushed: list[str] = []

        def flush(self):
            self.flushed.append(self.getvalue())

    monkeypatch.setattr(sys, "stdout", Out())
    fovea(FakeEngine(), "generate", "--prompt", "x")
    assert Out.flushed[:2] == ["Hello", "Hello world"]


def test_verbose_adds_one_line_of_statistics(capsys):
    fovea(FakeEngine(), "generate", "--prompt", "x", "--verbose")
    out, err = capsys.readouterr()
    assert out == "Hello world\n"
    assert err == (
        "prompt 7 tokens (3 for pictures), 100.0 tok/s; answer 2 tokens, 20.0 tok/s; "
        "first token 0.25 s; loading 1.5 s; peak memory 5.0 MB\n"
    )


ANSWER = {
    "text": "Hello world",
    "token_ids": [10, 11],
    "logprobs": [-0.5, -0.5],
    "finish_reason": "stop",
    "usage": {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "cached_tokens": 0,
        "image_tokens": 3,
        "thinking_tokens": 0,
        "drafted_tokens": 0,
        "accepted_tokens": 0,
    },
    "timings": {
        "load_s": 1.5,
        "ttft_s": 0.25,
        "prompt_tps": 100.0,
        "generation_tps": 20.0,
        "peak_memory_bytes": 5_000_000,
    },
}


def test_json_is_one_object_at_the_end(capsys):
    assert fovea(FakeEngine(), "generate", "--prompt", "x", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == ANSWER
    assert err == ""


LIKELY = (TokenLogprob(10, -0.5, bytes=b"Hi"), TokenLogprob(7, -1.5, bytes=b"\xc3"))
TOLD = [
    {"token_id": 10, "logprob": -0.5, "text": "Hi", "bytes": [72, 105]},
    {"token_id": 7, "logprob": -1.5, "text": "\\xc3", "bytes": [195]},
]


def test_json_has_the_likeliest_tokens_where_they_were_asked_for(capsys):
    def weigh(request_id, request):
        assert (request.logprobs, request.top_logprobs) == (True, 2)
        yield TextDelta(request_id, "Hi", (TokenLogprob(10, -0.5, LIKELY, b"Hi"),))
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS, choices=(ChoiceEnd(FinishReason.STOP, stop="!"),))

    words = ("generate", "--prompt", "x", "--json", "--stream", "--top-logprobs", "2")
    assert fovea(FakeEngine({GenerateRequest: weigh}), *words) == 0
    line, shape = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    assert line == {"event": "text", "text": "Hi", "token_ids": [10], "logprobs": [-0.5], "top_logprobs": [TOLD]}
    assert (shape["top_logprobs"], shape["stop"]) == ([TOLD], "!")


def test_the_likeliest_tokens_are_told_in_json_alone(capsys):
    assert fovea(FakeEngine(), "generate", "--prompt", "x", "--top-logprobs", "2") == 2
    assert "--json" in capsys.readouterr().err


def test_json_names_thinking_apart_from_the_answer(capsys):
    def think(request_id, request):
        yield ThinkingDelta(request_id, "hm")
        yield TextDelta(request_id, "yes")
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS)

    fovea(FakeEngine({GenerateRequest: think}), "generate", "--prompt", "x", "--json")
    shape = json.loads(capsys.readouterr().out)
    assert (shape["thinking"], shape["text"]) == ("hm", "yes")


def test_json_has_the_calls_of_tools(capsys):
    def call(request_id, request):
        yield ToolCallDelta(request_id, 0, "get_time", '{"zone": "UTC"}', "abc123xyz")
        yield Finished(request_id, FinishReason.TOOL_CALLS, replace(USAGE, thinking_tokens=1), TIMINGS)

    fovea(FakeEngine({GenerateRequest: call}), "generate", "--prompt", "x", "--json", "--stream")
    line, shape = map(json.loads, capsys.readouterr().out.splitlines()[-2:])
    made = {"id": "abc123xyz", "name": "get_time", "arguments": '{"zone": "UTC"}'}
    assert line == {"event": "tool_call", "index": 0, **made}
    assert (shape["tool_calls"], shape["finish_reason"]) == ([made], "tool_calls")
    assert shape["usage"]["thinking_tokens"] == 1


def test_json_stream_is_one_object_a_line_in_order(capsys):
    assert fovea(FakeEngine(), "generate", "--prompt", "x", "--json", "--stream") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line.get("event") for line in lines] == ["progress", "accepted", "progress", "text", "text", None]
    assert lines[0] == {"event": "progress", "stage": "loading", "done": 1_000_000, "total": 4_000_000, "note": ""}
    assert lines[3] == {"event": "text", "text": "Hello", "token_ids": [10], "logprobs": [-0.5]}
    assert lines[-1] == ANSWER


@pytest.mark.parametrize(
    ("error", "status"),
    [(CheckpointError("No weights.", "Download it again."), 2), (InternalError("Our mistake.", "Report it."), 1)],
)
@pytest.mark.parametrize("kind", [LoadModel, GenerateRequest])
def test_failures_name_message_and_hint_and_whose_fault(error, status, kind, capsys):
    assert fovea(FakeEngine({kind: fail(error)}), "generate", "--prompt", "x") == status
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"fovea: {error.message}\n{error.hint}\n"


def test_failures_are_json_where_json_was_asked_for(capsys):
    error = CheckpointError("No weights.", "Download it again.")
    assert fovea(FakeEngine({LoadModel: fail(error)}), "generate", "--prompt", "x", "--json") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": {
            "code": "bad_checkpoint",
            "message": "No weights.",
            "hint": "Download it again.",
            "fault": "user",
        }
    }


@pytest.mark.parametrize("flag", REFUSED)
def test_flags_that_cannot_be_honoured_are_refused_by_name(flag, capsys):
    engine = FakeEngine()
    assert fovea(engine, "generate", "--prompt", "x", flag, "1") == 2
    assert capsys.readouterr().err.startswith(f"fovea: {flag} ")
    assert engine.settings is None


@pytest.mark.parametrize(
    "words",
    [
        ["generate", "--no-such-flag"],
        ["generate", "--prompt", "x", "--temp", "1"],
        ["generate", "--prompt", "x", "--temperature", "-1"],
        ["generate", "--prompt", "x", "--temperature", "nan"],
        ["generate", "--prompt", "x", "--top-p", "0"],
        ["generate", "--prompt", "x", "--top-p", "1.5"],
        ["generate", "--prompt", "x", "--max-tokens", "0"],
        ["generate", "--prompt", "x", "--max-tokens", "many"],
        ["generate", "--prompt", "x", "--repetition-penalty", "0"],
        ["generate", "--prompt", "x", "--image", "no-such.png"],
        ["generate", "--prompt", "x", "--image", "."],
        ["generate", "--prompt", "x", "--image", "https://example.org/a.png"],
        ["generate", "--prompt", "  "],
        ["no-such-command"],
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_wrong_with_the_words_is_told_before_anything_starts(words, form, capsys):
    engine = FakeEngine()
    assert fovea(engine, *words, *(["--json"] if form == "json" else [])) == 2
    out, err = capsys.readouterr()
    assert out == ""
    if form == "json":
        assert json.loads(err)["error"]["fault"] == "user"
    else:
        assert err.startswith("fovea: ")
    assert engine.settings is None


def test_a_bad_setting_in_the_environment(monkeypatch, capsys):
    monkeypatch.setenv("FOVEA_MEMORY_LIMIT", "lots")
    assert fovea(FakeEngine(), "generate", "--prompt", "x") == 2
    assert "FOVEA_MEMORY_LIMIT" in capsys.readouterr().err


def test_no_words_at_all_shows_the_help(capsys):
    assert main([]) == 2
    assert "generate" in capsys.readouterr().err


def test_a_download_is_announced_once_with_its_size(capsys):
    def download(request_id, request):
        yield Progress(request_id, Stage.DOWNLOADING, 0, 1_200_000_000, note="owner/name")
        yield Progress(request_id, Stage.DOWNLOADING, 600_000_000, 1_200_000_000, note="owner/name")
        yield Finished(request_id, FinishReason.DONE, model=INFO)

    fovea(FakeEngine({LoadModel: download}), "generate", "--prompt", "x", "--model", "owner/name")
    assert capsys.readouterr().err == "owner/name is not on this machine yet: downloading (1.2 GB).\n"


def test_progress_is_one_line_that_is_gone_before_the_answer(monkeypatch, capsys):
    screen = Keyboard()
    monkeypatch.setattr(sys, "stderr", screen)
    fovea(FakeEngine(), "generate", "--prompt", "x")
    assert "Loading weights: 1.0 MB of 4.0 MB, 25%" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[2K")
    assert "\n" not in screen.getvalue()


def interrupt(*events):
    """A script that says something, has Ctrl-C pressed, and would go on for ever."""

    def script(request_id, request):
        for event in events:
            yield event(request_id)
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield WAIT

    return script


def test_ctrl_c_stops_the_answer_and_shows_what_there_is(capsys):
    before = signal.getsignal(signal.SIGINT)
    engine = FakeEngine({GenerateRequest: interrupt(lambda name: TextDelta(name, "So far"))})
    assert fovea(engine, "generate", "--prompt", "x") == 130
    assert capsys.readouterr().out == "So far\n"
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_with_json_still_gives_the_object(capsys):
    engine = FakeEngine({GenerateRequest: interrupt(lambda name: TextDelta(name, "So far"))})
    assert fovea(engine, "generate", "--prompt", "x", "--json") == 130
    shape = json.loads(capsys.readouterr().out)
    assert (shape["text"], shape["finish_reason"]) == ("So far", "cancelled")


def test_ctrl_c_while_loading_asks_nothing(capsys):
    engine = FakeEngine({LoadModel: interrupt()})
    assert fovea(engine, "generate", "--prompt", "x") == 130
    assert [type(request) for request in engine.requests] == [LoadModel]
    assert capsys.readouterr() == ("", "")


def test_a_second_ctrl_c_ends_the_program():
    def never_ends(request_id, request):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            yield WAIT
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    assert fovea(FakeEngine({GenerateRequest: never_ends}), "generate", "--prompt", "x") == 130


def test_nobody_reads_the_output_any_more():
    program = (
        "import sys; from engine.cli import main; from tests.fake_engine import *\n"
        "engine = FakeEngine({GenerateRequest: speak(*['word '] * 100_000)})\n"
        "sys.exit(main(['generate', '--prompt', 'x'], open_engine=engine.open))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(4)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_help_waits_for_nothing_heavy():
    program = (
        "import sys; from engine.cli import build_parser; build_parser()\n"
        "heavy = {'mlx', 'mlx_lm', 'transformers', 'numpy', 'PIL', 'huggingface_hub', 'PySide6'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_scripts_are_as_the_fronts_expect():
    assert [type(event) for event in load("r", LoadModel("starter"))] == [Progress, Finished]
    assert [type(event) for event in speak("a")("r", None)] == [Progress, TextDelta, Finished]


@pytest.mark.parametrize(("words", "said"), [([], []), (["--verbose"], ["a remark"])])
def test_what_libraries_say_is_for_those_who_ask(words, said, caplog):
    def remark(request_id, request):
        logging.getLogger("some.library").warning("a remark")
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS)

    fovea(FakeEngine({GenerateRequest: remark}), "generate", "--prompt", "x", *words)
    assert caplog.messages == said
    logging.getLogger("some.library").warning("afterwards")
    assert caplog.messages == [*said, "afterwards"]


def test_a_tiny_model_from_end_to_end(tiny_llama, capsys):
    words = ["generate", "--model", str(tiny_llama), "--prompt", "Hello", "--max-tokens", "5", "--json"]
    assert main(words) == 0
    shape = json.loads(capsys.readouterr().out)
    assert shape.keys() == ANSWER.keys()
    assert 1 <= len(shape["token_ids"]) == len(shape["logprobs"]) == shape["usage"]["completion_tokens"] <= 5
    assert shape["usage"]["prompt_tokens"] > 0


def test_a_folder_without_a_model_from_end_to_end(tmp_path, capsys):
    assert main(["generate", "--model", str(tmp_path), "--prompt", "Hello"]) == 2
    assert "config.json" in capsys.readouterr().err

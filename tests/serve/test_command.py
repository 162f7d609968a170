"""`fovea serve`: what its flags come to, what it prints, and how it ends."""

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading

import keyring
import pytest
from keyring.backends.fail import Keyring as NoKeyring

from engine.api.errors import CheckpointError
from engine.api.request import LoadModel
from engine.api.settings import EngineSettings
from engine.cli import build_parser, main
from engine.commands import serve
from engine.commands.context import Context
from engine.commands.terminal import Terminal
from engine.serve.settings import ServeSettings
from tests.fake_engine import fail
from tests.serve.test_keys import Keychain
from tests.serve.world import KEY, OTHER_KEY, PATIENCE_S, ServedEngine

QUESTION = json.dumps({"messages": [{"role": "user", "content": "Hello?"}]})


@pytest.fixture(autouse=True)
def keychain():
    """Never the one of whoever runs the tests."""
    before, made = keyring.get_keyring(), Keychain()
    keyring.set_keyring(made)
    yield made
    keyring.set_keyring(before)


def ask(address, path, body=None, key=KEY):
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=PATIENCE_S)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "connection": "close"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.fixture
def fovea(monkeypatch):
    """Runs the command; `meanwhile(address, engine)` is called while it serves."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)

    def run(*words, meanwhile=lambda address, engine: None, scripts=None):
        engine, servers = ServedEngine(scripts, None), []
        announce = serve._announce

        def heard(server, *given):
            servers.append(server)
            announce(server, *given)

        monkeypatch.setattr(serve, "_announce", heard)
        monkeypatch.setattr(serve, "wait_interrupted", lambda ended: meanwhile(servers[0].address, engine))
        status = main(["serve", *words], open_engine=engine.open)
        return status, engine

    return run


def settings_of(*words, keys=(KEY,)):
    arguments = build_parser().parse_args(["serve", *words])
    context = Context(EngineSettings(), Terminal(), None)
    return serve.serve_settings(arguments, context, keys), serve._engine_settings(arguments, context)


def test_it_answers_until_it_is_interrupted(fovea, capsys):
    told = []

    def meanwhile(address, engine):
        told.append(ask(address, "/v1/chat/completions", QUESTION))
        told.append(ask(address, "/v1/chat/completions", QUESTION, key="not-the-key"))

    status, engine = fovea("--port", "0", "--api-key", KEY, "--draft-model", "owner/draft", meanwhile=meanwhile)
    assert status == 0
    assert [code for code, _ in told] == [200, 401]
    assert "Hello world" in told[0][1]
    assert LoadModel("starter", download=True, draft_model="owner/draft") in engine.requests
    shown = capsys.readouterr()
    assert shown.out.startswith("Address: http://127.0.0.1:")
    assert KEY not in shown.out + shown.err
    with pytest.raises(OSError, match="refused"):
        ask(shown.out.split()[1].removesuffix("/v1"), "/health")


def test_the_key_in_the_keychain_is_shown_once(fovea, capsys, caplog, keychain):
    told = []

    def meanwhile(address, engine):
        (key,) = keychain.kept.values()
        told.append((key, ask(address, "/v1/models", key=key)[0]))

    for _ in range(2):
        fovea("--port", "0", "--json", "--log-level", "debug", meanwhile=meanwhile)
        shown = capsys.readouterr()
        key = told[-1][0]
        assert json.loads(shown.out)["key"] == key
        assert key not in shown.err + caplog.text
    assert told[0] == told[1] == (key, 200)


def test_without_a_keychain_the_key_is_for_this_run_and_that_is_said(fovea, capsys):
    keyring.set_keyring(NoKeyring())
    assert fovea("--port", "0")[0] == 0
    shown = capsys.readouterr()
    assert "Key:     fovea-" in shown.out
    assert "for this run alone" in shown.err


def test_the_usual_port_taken_means_the_next_one(fovea, capsys, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setattr(serve, "DEFAULT_PORT", port)
        assert fovea("--api-key", KEY)[0] == 0
        shown = capsys.readouterr()
        assert f"The port {port} is taken by" in shown.err
        assert f":{port}/" not in shown.out
        assert fovea("--api-key", KEY, "--port", str(port))[0] == 2
        assert f"The port {port} is taken by" in capsys.readouterr().err


def test_a_model_that_does_not_load_ends_it(fovea, capsys):
    error = CheckpointError("/models/x is cut short.", "Copy it.")
    assert fovea("--port", "0", "--api-key", KEY, scripts={LoadModel: fail(error)})[0] == 2
    assert "/models/x is cut short." in capsys.readouterr().err


def test_a_line_a_request_where_that_is_asked_for(fovea, caplog):
    def meanwhile(address, engine):
        ask(address, "/v1/chat/completions", QUESTION)

    before = logging.root.manager.disable
    fovea("--port", "0", "--api-key", KEY, "--log-level", "info", meanwhile=meanwhile)
    assert logging.root.manager.disable == before
    lines = [record.getMessage() for record in caplog.records if record.name == "fovea.serve"]
    assert len(lines) == 1
    assert "POST /v1/chat/completions 200" in lines[0]
    assert "7 + 2 tokens" in lines[0]
    assert "Hello" not in caplog.text
    assert KEY not in caplog.text


def test_as_it_stands_it_is_as_safe_as_can_be():
    settings, _ = settings_of()
    assert settings == ServeSettings(keys=(KEY,), loads=(LoadModel("starter", download=True),))


def test_what_flags_come_to(tmp_path):
    settings, engine = settings_of(
        *("--host", "192.168.1.2", "--port", "9000", "--model", "owner/name", "--revision", "v1", "--offline"),
        *("--allow-origin", "http://localhost:3000", "--allow-host", "mac.local", "--models", "a/b", "c/d"),
        *("--no-switching", "--allow-media-urls", "--allow-media-folder", str(tmp_path), "--enable-thinking"),
        *("--top-logprobs-k", "5", "--max-running", "3", "--max-queue", "300", "--vision-cache-size", "64MB"),
        *("--kv-bits", "4", "--no-disk-cache"),
        keys=(KEY, OTHER_KEY),
    )
    assert (settings.host, settings.port, settings.switching) == ("192.168.1.2", 9000, False)
    assert settings.loads == (LoadModel("owner/name", "v1"),)
    assert (settings.allowed_origins, settings.allowed_hosts) == (("http://localhost:3000",), ("mac.local",))
    assert (settings.models, settings.top_logprobs) == (("a/b", "c/d"), 5)
    assert (settings.media.allow_urls, settings.media.folders) == (True, (tmp_path,))
    assert settings.template_options == (("enable_thinking", True),)
    assert (settings.limits.max_running, settings.limits.max_queue, settings.limits.max_per_key) == (3, 300, 227)
    assert (engine.max_running, engine.max_waiting, engine.cache.feature_bytes) == (3, 300, 64_000_000)
    assert (engine.cache.kv_bits, engine.cache.disk_dir) == (4, None)


@pytest.mark.parametrize(
    "words",
    [
        ("--allow-origin", "*"),
        ("--allow-media-folder", "/no/such/folder"),
        ("--api-key", "short"),
        ("--port", "70000"),
        ("--port", "-1"),
        ("--top-logprobs-k", "21"),
        ("--vision-cache-size", "20"),
        ("--vision-cache-size", "much"),
        ("--log-level", "loud"),
        ("--max-running", "0"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_is_refused_before_anything_starts(fovea, capsys, words):
    status, engine = fovea(*words)
    assert status == 2
    assert not engine.requests
    assert capsys.readouterr().err.startswith("fovea: ")


def test_a_process_of_its_own_ends_in_order_when_it_is_interrupted(tmp_path):
    """The real engine, with the model that answers noise."""
    words = ("serve", "--model", "tiny", "--port", "0", "--json", "--api-key", KEY, "--no-disk-cache")
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; from engine import cli; sys.exit(cli.run())", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "FOVEA_CACHE": str(tmp_path)},
    )
    loaded = threading.Event()
    said = []

    def listen():
        for line in process.stderr:
            said.append(line)
            if "is loaded" in line:
                loaded.set()

    ear = threading.Thread(target=listen)
    ear.start()
    try:
        address = json.loads(process.stdout.readline())["address"]
        assert ask(address, "/health")[0] == 200
        assert loaded.wait(120), said
        body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3})
        status, answer = ask(address, "/v1/chat/completions", body)
        assert status == 200, answer
        assert json.loads(answer)["usage"]["completion_tokens"] == 3
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0, said
    finally:
        process.kill()
        process.wait()
        ear.join()
        process.stdout.close()
        process.stderr.close()

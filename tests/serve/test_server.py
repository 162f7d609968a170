"""The local API over a real socket: started, asked, drained and ended; and ports that are taken."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

from engine.api.errors import EngineError
from engine.api.request import GenerateRequest
from engine.serve.port import PortTaken, address_of, listen
from engine.serve.server import Server
from tests.fake_engine import speak_until_cancelled
from tests.serve.world import HEADERS, PATIENCE_S, ServedEngine, settings, wait_for_model

QUESTION = json.dumps({"messages": [{"role": "user", "content": "Hello?"}], "stream": True})


@pytest.fixture
def serve():
    """Starts servers, and stops what a test left running."""
    opened = []

    def start(scripts=None, **fields):
        engine = ServedEngine(scripts)
        engine.start()
        server = Server(engine.client, settings(**{"port": 0, **fields}))
        opened.append((server, engine))
        server.start()
        wait_for_model(server)
        return server, engine

    yield start
    for server, engine in opened:
        server.stop(0)
        engine.close(PATIENCE_S)


@pytest.fixture
def connect():
    opened = []

    def to(server):
        opened.append(http.client.HTTPConnection(server.address.removeprefix("http://"), timeout=PATIENCE_S))
        return opened[-1]

    yield to
    for connection in opened:
        connection.close()


@pytest.fixture
def ask(connect):
    opened = []

    def of(server, method, path, body=None, **headers):
        connection = connect(server)
        connection.request(method, path, body, {**HEADERS, "content-type": "application/json", **headers})
        opened.append(connection.getresponse())
        return connection, opened[-1]

    yield of
    for answer in opened:
        answer.close()


def test_it_is_asked_over_a_socket(serve, ask):
    server, _ = serve()
    assert server.address.startswith("http://127.0.0.1:")
    _, answer = ask(server, "POST", "/v1/chat/completions", QUESTION)
    text = answer.read().decode()
    assert answer.status == 200
    assert "Hello" in text
    assert text.endswith("data: [DONE]\n\n")
    assert answer.getheader("server") is None


def test_it_binds_this_machine_alone(serve):
    server, _ = serve()
    port = int(server.address.rpartition(":")[2])
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), 1)


def test_a_client_that_hangs_up_is_cancelled(serve, ask):
    server, engine = serve({GenerateRequest: speak_until_cancelled("Hello")})
    connection, answer = ask(server, "POST", "/v1/chat/completions", QUESTION)
    assert b"Hello" in answer.read1()
    ended = threading.Event()
    cancel = engine.client.cancel
    engine.client.cancel = lambda request_id: (cancel(request_id), ended.set())
    answer.close()
    connection.close()
    assert ended.wait(PATIENCE_S)


def test_stopping_ends_what_runs_with_a_word_and_closes_the_port(serve, ask, connect):
    server, engine = serve({GenerateRequest: speak_until_cancelled("Hello")})
    _, answer = ask(server, "POST", "/v1/chat/completions", QUESTION)
    assert b"Hello" in answer.read1()
    server.stop(0)
    assert b"stopping" in answer.read()
    assert not engine.under_way
    with pytest.raises(OSError, match="refused"):
        connect(server).connect()
    server.stop()


def test_it_can_be_started_anew_at_the_same_port(serve, ask):
    server, _ = serve()
    port = int(server.address.rpartition(":")[2])
    _, answer = ask(server, "GET", "/health")
    assert answer.read()
    server.stop(0)
    again, _ = serve(port=port)
    assert again.address == server.address


def test_a_port_that_is_taken_says_by_what_and_which_is_free(serve):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortTaken, match=f"{port} is taken by .*process {os.getpid()}") as caught:
            serve(port=port)
    assert caught.value.free_port not in (None, port)
    listen("127.0.0.1", caught.value.free_port).close()


def test_an_address_that_is_not_this_machine_s_is_refused():
    with pytest.raises(EngineError, match=r"192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    with pytest.raises(EngineError, match="no address"):
        listen("nowhere.invalid", 0)


def test_an_address_that_can_be_called():
    with listen("0.0.0.0", 0) as everywhere:
        assert "0.0.0.0" not in address_of(everywhere, "0.0.0.0")
    with listen("localhost", 0) as local:
        assert address_of(local, "localhost") == f"http://localhost:{local.getsockname()[1]}"


def test_small_pieces_are_sent_at_once(serve, ask):
    """Or else each waits until the one before it was acknowledged, which takes 40 ms."""
    server, _ = serve()
    accepted = server._running.server_state.connections
    _, answer = ask(server, "GET", "/health")
    answer.read()
    (connection,) = accepted
    assert connection.transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_websocket_is_not_opened(serve, ask):
    server, _ = serve()
    _, answer = ask(
        server,
        "GET",
        "/v1/models",
        **{"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "eA=="},
    )
    assert answer.status != 101


def test_a_request_without_a_host_or_with_two_is_refused(serve, connect):
    server, _ = serve()
    for lines in (b"", b"Host: 127.0.0.1\r\nHost: evil.example\r\n"):
        connection = connect(server)
        connection.connect()
        connection.sock.sendall(b"GET /health HTTP/1.1\r\n" + lines + b"Connection: close\r\n\r\n")
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 400")
        connection.close()


def test_importing_it_is_cheap():
    """The window imports it long before anybody turns the switch."""
    program = "import sys, engine.serve.server as s; print('fastapi' in sys.modules, 'uvicorn' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "False"]


def test_whoever_started_it_hears_when_it_ends_by_itself_and_only_then():
    engine = ServedEngine(None)
    engine.start()
    lost = threading.Event()
    server = Server(engine.client, settings(port=0), on_lost=lost.set)
    try:
        server.start()
        server._running.should_exit = True
        assert lost.wait(PATIENCE_S)
        server.stop(0)
        lost.clear()
        server = Server(engine.client, settings(port=0), on_lost=lost.set)
        server.start()
        server.stop(0)
        assert not lost.is_set()
    finally:
        server.stop(0)
        engine.close(PATIENCE_S)

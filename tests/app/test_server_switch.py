"""The server's switch: off the window's thread, heard of on it, in order, whatever goes wrong."""

import socket
import threading

import pytest

from app.server_switch import EngineServing, KeychainError, PortTaken, ServerSwitch
from app.state.request_log import RequestLine
from app.state.server_port import (
    KeyRead,
    KeyRefused,
    Reach,
    RequestServed,
    ServerFailed,
    ServerOptions,
    ServerStarted,
    ServerStopped,
)
from engine.api.errors import EngineError
from engine.client import EngineClient
from engine.inbox import Inbox
from tests.app.fake_serving import KEY, OTHER_KEY, FakeServing

LINE = RequestLine(0.0, "127.0.0.1", "GET /v1/models", 200)


@pytest.fixture
def serving():
    return FakeServing()


@pytest.fixture
def switch(qtbot, serving):
    made = ServerSwitch(EngineClient(Inbox()), serving)
    made.heard = []
    made.happened.connect(lambda event: made.heard.append((event, threading.current_thread())))
    yield made
    assert made.shut_down(10)


def events(switch):
    return [event for event, _ in switch.heard]


def wait_for(qtbot, switch, count):
    qtbot.waitUntil(lambda: len(switch.heard) >= count)
    return events(switch)


def test_on_and_off_again(switch, serving, qtbot):
    switch.start(ServerOptions(port=9000))
    switch.stop()
    heard = wait_for(qtbot, switch, 3)
    assert heard == [KeyRead(KEY), ServerStarted("http://127.0.0.1:9000"), ServerStopped()]
    assert {thread for _, thread in switch.heard} == {threading.main_thread()}
    assert serving.running == []
    assert serving.servers[0].key == KEY


def test_nothing_of_it_runs_on_the_windows_thread(switch, serving, qtbot):
    threads = []
    opened = serving.open
    serving.open = lambda *given: threads.append(threading.current_thread()) or opened(*given)
    switch.start(ServerOptions())
    wait_for(qtbot, switch, 2)
    assert threads
    assert threading.main_thread() not in threads


def test_requests_are_heard_of_on_the_windows_thread(switch, serving, qtbot):
    switch.start(ServerOptions())
    wait_for(qtbot, switch, 2)
    thread = threading.Thread(target=serving.servers[0].observe, args=(LINE,))
    thread.start()
    thread.join()
    wait_for(qtbot, switch, 3)
    assert switch.heard[-1] == (RequestServed(LINE), threading.main_thread())


def test_a_taken_port_comes_with_a_free_one(switch, serving, qtbot):
    serving.failure = PortTaken("The port 8080 is taken by node.", "End it.", 8081)
    switch.start(ServerOptions())
    assert wait_for(qtbot, switch, 2)[-1] == ServerFailed("The port 8080 is taken by node.", "End it.", 8081)


def test_a_server_that_ends_by_itself_is_told_of_and_can_be_turned_on_again(switch, serving, qtbot):
    switch.start(ServerOptions())
    wait_for(qtbot, switch, 2)
    thread = threading.Thread(target=serving.servers[0].lose)
    thread.start()
    thread.join()
    assert wait_for(qtbot, switch, 3)[-1] == ServerFailed("The local API ended by itself.", "Turn it on again.")
    assert serving.running == []
    switch.start(ServerOptions())
    wait_for(qtbot, switch, 5)
    assert serving.running == [serving.servers[1]]


def test_an_expected_failure_says_what_it_says(switch, serving, qtbot):
    serving.failure = EngineError("No such address.", "Use another.")
    switch.start(ServerOptions())
    assert wait_for(qtbot, switch, 2)[-1] == ServerFailed("No such address.", "Use another.")


def test_a_bug_is_logged_and_told_in_a_sentence(switch, serving, qtbot, caplog):
    serving.failure = ZeroDivisionError("division by zero")
    switch.start(ServerOptions())
    failed = wait_for(qtbot, switch, 2)[-1]
    assert isinstance(failed, ServerFailed)
    assert "division by zero" not in failed.message + failed.hint
    assert "division by zero" in caplog.text


def test_keys_are_read_renewed_and_refused(switch, serving, qtbot):
    switch.key()
    switch.renew_key()
    assert wait_for(qtbot, switch, 2) == [KeyRead(KEY), KeyRead(OTHER_KEY)]
    serving.key_failure = KeychainError("The keychain took no new key.", "The old one is still good.")
    switch.renew_key()
    refused = KeyRefused("The keychain took no new key.", "The old one is still good.")
    assert wait_for(qtbot, switch, 3)[-1] == refused


def test_shutting_down_stops_what_runs_and_may_be_said_twice(switch, serving, qtbot):
    switch.start(ServerOptions())
    assert switch.shut_down(10)
    assert switch.shut_down(10)
    assert len(serving.servers) == 1
    assert serving.running == []


def test_a_server_that_does_not_end_is_not_waited_for(switch, serving, qtbot):
    switch.start(ServerOptions())
    wait_for(qtbot, switch, 2)
    release = threading.Event()
    serving.servers[0].stop = lambda patience_s: release.wait(30)
    assert not switch.shut_down(0.05)
    release.set()


class RealKeychain:
    """As `keyring` is used: one password, or an error."""

    def __init__(self):
        self.kept = None
        self.error = None

    def get_password(self, service, user):
        if self.error:
            raise self.error
        return self.kept

    def set_password(self, service, user, password):
        if self.error:
            raise self.error
        self.kept = password


@pytest.fixture
def keychain(monkeypatch):
    import keyring

    made = RealKeychain()
    monkeypatch.setattr(keyring, "get_password", made.get_password)
    monkeypatch.setattr(keyring, "set_password", made.set_password)
    return made


def test_the_key_is_made_once_and_kept(keychain):
    read = EngineServing().key()
    assert read == KeyRead(keychain.kept)
    assert EngineServing().key() == read
    renewed = EngineServing().new_key()
    assert renewed == KeyRead(keychain.kept) != read


def test_without_a_keychain_the_key_is_good_until_the_app_quits(keychain):
    from keyring.errors import NoKeyringError

    keychain.error = NoKeyringError()
    serving = EngineServing()
    read = serving.key()
    assert serving.key() == read
    assert "until you quit" in read.note
    assert serving.new_key().key not in ("", read.key)


def test_a_keychain_that_takes_no_new_key_leaves_the_old_one(keychain):
    from keyring.errors import KeyringLocked

    serving = EngineServing()
    read = serving.key()
    keychain.error = KeyringLocked("locked")
    with pytest.raises(KeychainError, match="no new key"):
        serving.new_key()
    assert keychain.kept == read.key


def ask(address, path, headers):
    import httpx2

    return httpx2.get(address + path, headers=headers)


@pytest.fixture
def open_server(monkeypatch):
    """Opens the real server over an engine that nobody runs."""
    servers = []
    lines = []
    client = EngineClient(Inbox())

    def build(**options):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        server = EngineServing().open(client, ServerOptions(port=port, **options), KEY, lines.append, print)
        server.lines = lines
        servers.append(server)
        return server

    yield build
    for server in servers:
        server.stop(0)


def test_the_real_server_lets_in_whoever_has_the_key_and_says_so(open_server, qtbot):
    server = open_server()
    assert server.address.startswith("http://127.0.0.1:")
    assert ask(server.address, "/health", {}).status_code < 500
    assert ask(server.address, "/v1/models/x", {}).status_code == 401
    qtbot.waitUntil(lambda: len(server.lines) == 2)
    refused = server.lines[1]
    assert (refused.client, refused.status) == ("127.0.0.1", 401)
    assert refused.route == "GET without the right key"


def test_the_real_server_is_told_of_pages_and_of_containers(open_server):
    server = open_server(origins=("http://localhost:3000",))
    port = server.address.rpartition(":")[2]
    for origin, host, expected in (
        ("http://localhost:3000", f"127.0.0.1:{port}", 200),
        ("http://evil.test", f"127.0.0.1:{port}", 403),
        ("http://localhost:3000", f"host.docker.internal:{port}", 200),
        ("http://localhost:3000", f"evil.test:{port}", 403),
    ):
        found = ask(server.address, "/health", {"Origin": origin, "Host": host})
        assert (found.status_code == 403) == (expected == 403), (origin, host, found.text)


def test_a_real_port_that_is_taken_comes_with_a_free_one(open_server):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=str(port)) as caught:
            EngineServing().open(EngineClient(Inbox()), ServerOptions(port=port), KEY, print, print)
    assert caught.value.free_port != port


def test_only_a_network_that_was_chosen_is_let_in():
    from app.server_switch import _settings

    assert _settings(ServerOptions(), KEY).host == "127.0.0.1"
    settings = _settings(ServerOptions(reach=Reach.NETWORK, switches_models=False, logs_bodies=True), KEY)
    assert settings.host == "0.0.0.0"
    assert settings.keys == (KEY,)
    assert (settings.switching, settings.log_bodies) == (False, True)

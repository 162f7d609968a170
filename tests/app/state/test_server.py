"""The local API as the window has it: what the switch, the key and the choices lead to."""

import pytest

from app.state.request_log import RequestLine
from app.state.server import ServerState, Switch
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
from tests.app.state.ports import collect
from tests.app.state.server_ports import Clock, NotingServerPort

HERE = "http://127.0.0.1:8080"
KEY = "fovea-Ab-cd_0123456789-0123456789WXYZ"
TAKEN = ServerFailed("The port 8080 is taken by node (process 4711).", "End it.", 8081)


@pytest.fixture
def port():
    return NotingServerPort()


@pytest.fixture
def server(port):
    return ServerState(port, ServerOptions(), Clock(), is_wanted=False)


@pytest.fixture
def running(server, port):
    server.turn(True)
    server.take(KeyRead(KEY))
    server.take(ServerStarted(HERE))
    port.calls.clear()
    return server


def test_it_is_off_and_closed_to_all_but_this_computer_at_first(server, port):
    assert server.switch is Switch.OFF
    assert (server.options.reach, server.options.origins) == (Reach.THIS_COMPUTER, ())
    assert not server.options.logs_bodies
    assert port.calls == []


def test_it_goes_on_by_way_of_starting_and_off_by_way_of_stopping(server, port):
    changes = collect(server.changed)
    server.turn(True)
    assert (server.switch, server.looks_on) == (Switch.STARTING, True)
    server.take(ServerStarted(HERE))
    assert (server.switch, server.address) == (Switch.ON, HERE)
    server.turn(False)
    assert (server.switch, server.looks_on) == (Switch.STOPPING, False)
    server.take(ServerStopped())
    assert (server.switch, server.address) == (Switch.OFF, "")
    assert port.names == ["start", "stop"]
    assert changes


def test_turned_off_while_it_starts_it_ends_up_off(server, port):
    server.turn(True)
    server.turn(False)
    assert port.names == ["start"], "one step at a time"
    server.take(ServerStarted(HERE))
    server.take(ServerStopped())
    assert (server.switch, port.names) == (Switch.OFF, ["start", "stop"])


def test_turned_on_while_it_stops_it_ends_up_on(running, port):
    running.turn(False)
    running.turn(True)
    assert running.is_restarting
    running.take(ServerStopped())
    running.take(ServerStarted(HERE))
    assert (running.switch, port.names) == (Switch.ON, ["stop", "start"])


@pytest.mark.parametrize(
    "choose",
    [
        lambda server: server.set_port(9000),
        lambda server: server.set_reach(Reach.NETWORK),
        lambda server: server.set_origins("http://localhost:3000"),
        lambda server: server.set_switches_models(False),
        lambda server: server.set_logs_bodies(True),
    ],
    ids=["port", "reach", "origins", "models", "bodies"],
)
def test_a_choice_starts_a_running_server_anew_with_it(running, port, choose):
    chosen = collect(running.chosen)
    choose(running)
    assert (running.switch, chosen) == (Switch.STOPPING, [running])
    running.take(ServerStopped())
    assert port.calls == [("stop",), ("start", running.options)]


def test_a_choice_that_changes_nothing_leaves_the_server_alone(running, port):
    running.set_port(running.options.port)
    running.set_origins("")
    assert (running.switch, port.calls) == (Switch.ON, [])


def test_choices_made_while_it_starts_are_not_lost(server, port):
    server.turn(True)
    server.set_port(9000)
    server.take(ServerStarted(HERE))
    server.take(ServerStopped())
    assert [call[1].port for call in port.calls if call[0] == "start"] == [8080, 9000]


def test_a_choice_while_it_is_off_starts_nothing(server, port):
    server.set_reach(Reach.NETWORK)
    assert (server.switch, port.calls) == (Switch.OFF, [])


def test_a_taken_port_is_told_and_the_free_one_taken_instead(server, port):
    server.turn(True)
    server.take(TAKEN)
    assert (server.switch, server.failure, server.looks_on) == (Switch.FAILED, TAKEN, False)
    server.use_free_port()
    assert (server.switch, server.failure) == (Switch.STARTING, None)
    assert port.calls[-1] == ("start", ServerOptions(port=8081))


def test_what_failed_can_be_left_off(server, port):
    server.turn(True)
    server.take(TAKEN)
    assert server.is_wanted, "the next start of the app tries again"
    server.turn(False)
    assert (server.switch, server.failure, server.is_wanted) == (Switch.OFF, None, False)
    assert port.names == ["start"]


def test_what_failed_can_be_tried_again(server, port):
    server.turn(True)
    server.take(TAKEN)
    server.turn(True)
    assert (server.switch, port.names) == (Switch.STARTING, ["start", "start"])


def test_a_failure_of_what_is_no_longer_wanted_is_not_told(server):
    server.turn(True)
    server.turn(False)
    server.take(TAKEN)
    assert (server.switch, server.failure) == (Switch.OFF, None)


def test_a_server_that_ends_by_itself_is_told(running):
    running.take(ServerFailed("It ended."))
    assert (running.switch, running.address) == (Switch.FAILED, "")


@pytest.mark.parametrize("was_on", [True, False])
def test_it_resumes_as_it_was_left(port, was_on):
    server = ServerState(port, ServerOptions(port=9000), Clock(), is_wanted=was_on)
    server.resume()
    assert port.calls == ([("start", ServerOptions(port=9000))] if was_on else [])


def test_the_key_is_read_once_and_masked_but_for_its_end(server, port):
    assert server.masked_key == ""
    server.read_key()
    server.read_key()
    assert port.names == ["key"]
    server.take(KeyRead(KEY))
    assert server.masked_key == "fovea-••••••••••••WXYZ"
    assert not server.is_key_shown


@pytest.mark.parametrize("key", ["fovea-short", "abcdefghijklmnopqrstuvwxyz", "abcdefghij-klmnopqrstuvwxyz"])
def test_a_mask_shows_next_to_nothing(server, key):
    server.take(KeyRead(key))
    assert server.masked_key == "•" * 12


def test_a_keychain_that_refuses_is_told_and_may_be_asked_again(server, port):
    server.read_key()
    server.take(KeyRefused("The keychain is locked.", "Unlock it."))
    assert server.key_problem.message == "The keychain is locked."
    server.read_key()
    server.take(KeyRead(KEY, "For now."))
    assert (server.key_problem, server.key_note) == (None, "For now.")
    assert port.names == ["key", "key"]


def test_a_renewed_key_starts_the_server_anew_so_that_the_old_one_opens_nothing(running, port):
    running.renew_key()
    running.take(KeyRead("fovea-another-one-0123456789"))
    assert (running.switch, port.names) == (Switch.STOPPING, ["renew_key", "stop"])
    running.take(ServerStopped())
    running.take(KeyRead("fovea-another-one-0123456789"))
    running.take(ServerStarted(HERE))
    assert (running.switch, port.names) == (Switch.ON, ["renew_key", "stop", "start"])


def test_the_same_key_read_again_leaves_the_server_alone(running, port):
    running.take(KeyRead(KEY))
    assert (running.switch, port.calls) == (Switch.ON, [])


def test_a_key_renewed_while_it_is_off_starts_nothing(server, port):
    server.take(KeyRead(KEY))
    server.renew_key()
    server.take(KeyRead("fovea-another-one-0123456789"))
    server.turn(True)
    server.take(ServerStarted(HERE))
    assert (server.switch, port.names) == (Switch.ON, ["renew_key", "start"])


def test_what_is_no_origin_is_told_and_changes_nothing(running, port):
    running.set_origins("http://localhost:3000")
    running.take(ServerStopped())
    running.take(ServerStarted(HERE))
    running.set_origins("*")
    assert "any website" in running.origins_problem
    assert running.options.origins == ("http://localhost:3000",)
    running.set_origins("http://localhost:3000")
    assert (running.origins_problem, running.switch) == ("", Switch.ON)


def line(**fields):
    return RequestLine(0.0, "127.0.0.1", "POST /v1/chat/completions", 200, 9, 2, 30.0, **fields)


def test_bodies_are_dropped_unless_they_are_wanted(running):
    logged = collect(running.logged)
    running.take(RequestServed(line(asked="secret", answered="more")))
    assert running.log.lines == (line(),)
    assert logged == [line()]


def test_bodies_that_are_wanted_are_kept_and_forgotten_when_that_is_turned_off(running, port):
    running.set_logs_bodies(True)
    running.take(ServerStopped())
    running.take(ServerStarted(HERE))
    port.calls.clear()
    running.take(RequestServed(line(asked="secret", answered="more")))
    assert running.log.lines[0].asked == "secret"
    logged = collect(running.logged)
    running.set_logs_bodies(False)
    assert running.log.lines == (line(),)
    assert logged == [None]
    assert port.calls == [], "nobody's answer is cut short for it"
    running.take(RequestServed(line(asked="secret")))
    assert not any(each.has_bodies for each in running.log.lines)


def test_a_request_is_no_change_of_the_server(running):
    changes = collect(running.changed)
    running.take(RequestServed(line()))
    assert changes == []

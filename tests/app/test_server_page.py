"""The page of the local API in the whole app: what a person does there, and what they then see."""

import time
from dataclasses import replace

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication

from app.models.request_table import ERROR_ROLE, Column
from app.server_switch import KeychainError, PortTaken
from app.state.request_log import MOST_LINES, RequestLine
from app.state.server import Switch
from app.state.server_port import Reach
from engine.api.errors import Fault
from engine.api.events import Failed, Finished, FinishReason, Status
from engine.api.request import LoadModel, WatchStatus
from tests.app.fake_serving import KEY, OTHER_KEY
from tests.fake_engine import INFO, WAIT

MASKED = "fovea-••••••••••••WXYZ"


@pytest.fixture
def app(open_app):
    return open_app()


@pytest.fixture
def page(app, qtbot):
    app.window.show_page(app.window.server_page)
    qtbot.waitUntil(lambda: bool(app.server.key))
    return app.window.server_page


def turn_on(app, qtbot):
    app.window.server_page.switch.button.click()
    qtbot.waitUntil(lambda: app.server.is_on)


def clipboard():
    return QGuiApplication.clipboard().text()


def line(number=0, **fields):
    given = {"at": time.time(), "client": "127.0.0.1", "route": "POST /v1/chat/completions", "status": 200} | fields
    return RequestLine(prompt_tokens=412, completion_tokens=number, milliseconds=4210.0, **given)


def serve(app, qtbot, *lines):
    """These have been asked and answered."""
    logged = []
    app.server.logged.connect(logged.append)
    for each in lines:
        app.serving.servers[-1].observe(each)
    qtbot.waitUntil(lambda: len(logged) == len(lines))


def cells(page, row):
    model = page.requests.model
    return [model.index(row, column).data() for column in Column]


@pytest.mark.parametrize("way", ["button", "keys", "menu"])
def test_the_page_is_reached_and_left(app, qtbot, way):
    window = app.window
    if way == "button":
        window.api_button.click()
    elif way == "keys":
        qtbot.keyClick(window, Qt.Key.Key_2, Qt.KeyboardModifier.ControlModifier)
    else:
        window.server_action.trigger()
    assert window.shows_server
    assert window.api_button.isChecked()
    assert window.server_action.isChecked()
    if way == "button":
        window.api_button.click()
    elif way == "keys":
        qtbot.keyClick(window, Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier)
    else:
        qtbot.keyClick(window.focusWidget(), Qt.Key.Key_Escape)
    assert not window.shows_server
    assert not window.api_button.isChecked()
    assert window.focusWidget() is app.page.composer.edit


def test_a_new_chat_is_begun_where_it_can_be_seen(app, page):
    app.window.new_button.click()
    assert not app.window.shows_server


def test_files_opened_elsewhere_are_attached_where_it_can_be_seen(app, page, picture):
    app.open_files([picture])
    assert not app.window.shows_server
    assert len(app.chat.tray.items) == 1


def test_nothing_asks_the_keychain_before_somebody_looks(app, qtbot):
    assert app.serving.times_read == 0
    app.window.show_page(app.window.server_page)
    qtbot.waitUntil(lambda: app.serving.times_read == 1)


def test_the_switch_turns_it_on_and_off(app, page, qtbot):
    switch = page.switch
    assert not switch.address.isVisible()
    turn_on(app, qtbot)
    assert switch.button.isChecked()
    assert switch.address.value == "http://127.0.0.1:8080/v1"
    assert app.window.api_button.is_lit
    qtbot.waitUntil(lambda: switch.sentence.text().endswith("can use the starter model."))
    qtbot.keyClick(switch.button, Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: app.server.switch is Switch.OFF)
    assert not switch.button.isChecked()
    assert not app.window.api_button.is_lit
    assert app.serving.running == []


def test_address_and_key_are_copied_and_the_key_stays_hidden(app, page, qtbot):
    turn_on(app, qtbot)
    page.switch.address.copy_button.click()
    assert clipboard() == "http://127.0.0.1:8080/v1"
    key = page.switch.key
    assert key.row.value == MASKED
    assert KEY not in key.row.value_label.accessibleName()
    key.row.copy_button.click()
    assert clipboard() == KEY
    assert key.row.value == MASKED
    key.show_button.click()
    assert key.row.value == KEY
    key.show_button.click()
    assert key.row.value == MASKED


def test_a_key_is_renewed_after_a_second_thought(app, page, qtbot):
    turn_on(app, qtbot)
    key = page.switch.key
    key.renew_button.click()
    assert key.confirmation.isVisible()
    assert app.window.focusWidget() is key.confirmation.keep_button
    key.confirmation.keep_button.click()
    assert not key.confirmation.isVisible()
    assert app.serving.read.key == KEY
    key.renew_button.click()
    key.confirmation.renew_button.click()
    qtbot.waitUntil(lambda: [server.key for server in app.serving.running] == [OTHER_KEY])
    qtbot.waitUntil(lambda: app.server.is_on)
    qtbot.waitUntil(lambda: key.row.value.endswith("•AAAA"))


def test_a_keychain_that_refuses_is_told_beside_the_key(app, page, qtbot):
    app.serving.key_failure = KeychainError("The keychain took no new key.", "The old one is still good.")
    app.server.renew_key()
    qtbot.waitUntil(page.switch.key.problem.isVisible)
    assert page.switch.key.problem.text() == "The keychain took no new key. The old one is still good."
    assert app.server.key == KEY


def test_a_taken_port_is_told_with_a_button_for_the_free_one(app, page, qtbot, preferences):
    app.serving.failure = PortTaken("The port 8080 is taken by <b>node</b>.", "End it.", 8081)
    page.switch.button.click()
    qtbot.waitUntil(page.switch.failure.isVisible)
    failure = page.switch.failure
    assert failure.message.text() == "The port 8080 is taken by <b>node</b>."
    assert failure.message.textFormat() == Qt.TextFormat.PlainText
    assert not page.switch.button.isChecked()
    app.serving.failure = None
    assert failure.free_button.text() == "Use 8081 instead"
    failure.free_button.click()
    qtbot.waitUntil(lambda: app.server.is_on)
    assert not failure.isVisible()
    assert page.switch.address.value == "http://127.0.0.1:8081/v1"
    assert page.access.port.text() == "8081"
    assert preferences.server_options.port == 8081


def test_a_failure_can_be_left_as_it_is(app, page, qtbot, preferences):
    app.serving.failure = PortTaken("The port 8080 is taken.", "End it.", None)
    page.switch.button.click()
    qtbot.waitUntil(page.switch.failure.isVisible)
    assert not page.switch.failure.free_button.isVisible()
    page.switch.failure.off_button.click()
    assert not page.switch.failure.isVisible()
    assert not preferences.serves


def test_the_network_comes_with_a_warning(app, page, qtbot):
    turn_on(app, qtbot)
    assert not page.access.warning.isVisible()
    page.access.network.click()
    assert page.access.warning.isVisible()
    assert "not encrypted" in page.access.warning.text()
    qtbot.waitUntil(lambda: app.serving.servers[-1].options.reach is Reach.NETWORK)
    qtbot.waitUntil(lambda: app.server.is_on)
    page.access.here.click()
    qtbot.waitUntil(lambda: app.serving.servers[-1].options.reach is Reach.THIS_COMPUTER)


def test_pages_ports_and_models_are_chosen(app, page, qtbot, preferences):
    access = page.access
    access.origins.setText("http://localhost:3000/path")
    access.origins.editingFinished.emit()
    assert access.origins_problem.isVisible()
    access.origins.setText("http://localhost:3000")
    access.origins.editingFinished.emit()
    assert not access.origins_problem.isVisible()
    access.port.setText("9000")
    access.port.editingFinished.emit()
    access.switches.click()
    options = preferences.server_options
    assert (options.origins, options.port, options.switches_models) == (("http://localhost:3000",), 9000, False)


def test_snippets_hold_what_is_loaded_and_hide_the_key_until_it_is_copied(app, page, qtbot):
    turn_on(app, qtbot)
    qtbot.waitUntil(lambda: "starter" in page.snippets.code.code)
    tabs = page.snippets.tabs
    assert [tabs.tabText(index) for index in range(tabs.count())][:2] == ["curl", "Python"]
    for index in range(tabs.count()):
        tabs.setCurrentIndex(index)
        assert MASKED in page.snippets.code.code
        assert page.snippets.code.toPlainText() == page.snippets.code.code
        page.snippets.copy_button.click()
        assert clipboard() == page.snippets.code.code.replace(MASKED, KEY)
    app.server.show_key(True)
    assert KEY in page.snippets.code.code


def test_requests_are_listed_as_they_come(app, page, qtbot):
    requests = page.requests
    turn_on(app, qtbot)
    assert requests.nothing.isVisible()
    serve(app, qtbot, line(96), line(status=401, route="GET /v1/models", client="10.0.0.7"))
    assert not requests.nothing.isVisible()
    assert cells(page, 0)[1:3] == ["10.0.0.7", "GET /v1/models"]
    assert cells(page, 1)[3:] == ["412 → 96", "4.2\u00a0s", "200"]
    assert [requests.model.index(row, 0).data(ERROR_ROLE) for row in (0, 1)] == [True, False]
    assert requests.aside.text() == "2 requests in the last minute · 1.6 tokens/s"
    requests.clear_button.click()
    assert requests.nothing.isVisible()
    assert requests.model.rowCount() == 0


def test_columns_grow_with_what_comes_later(app, page, qtbot):
    turn_on(app, qtbot)
    serve(app, qtbot, RequestLine(time.time(), "10.0.0.7", "GET /v1/models", 200, 0, 0, 3.0))
    serve(app, qtbot, replace(line(96), prompt_tokens=120_034))
    view = page.requests.view
    for column in Column:
        if column is not Column.ROUTE:
            assert view.columnWidth(column) >= view.sizeHintForColumn(column), column


def test_the_list_is_as_long_as_the_log_and_the_selection_stays_with_its_line(app, page, qtbot):
    turn_on(app, qtbot)
    serve(app, qtbot, *(line(number) for number in range(MOST_LINES)))
    page.requests.view.selectRow(0)
    serve(app, qtbot, line(7_777))
    assert page.requests.model.rowCount() == MOST_LINES
    assert page.requests.view.currentIndex().row() == 1
    for row, each in enumerate(app.server.log.lines):
        assert page.requests.model.line(row) == each


def test_bodies_are_shown_only_while_they_are_kept(app, page, qtbot):
    requests = page.requests
    turn_on(app, qtbot)
    serve(app, qtbot, line(asked="What is this?", answered="A disc."))
    requests.view.selectRow(0)
    assert not requests.bodies.isVisible()
    requests.keep.click()
    qtbot.waitUntil(lambda: app.serving.servers[-1].options.logs_bodies and app.server.is_on)
    serve(app, qtbot, line(asked="What is <b>this</b>?", answered="A disc."))
    requests.view.selectRow(0)
    assert requests.bodies.isVisible()
    assert requests.bodies.asked.toPlainText() == "What is <b>this</b>?"
    requests.keep.click()
    assert not requests.bodies.isVisible()
    assert "this" not in requests.bodies.asked.toPlainText()
    assert not any(each.has_bodies for each in app.server.log.lines)


def test_what_a_program_loads_is_seen_in_the_picker(open_app, qtbot):
    def watch(request_id, request):
        yield Status(request_id, None, 0, 0, 0, loading="lab/large")
        yield Status(request_id, INFO, 540_000_000, 0, 0)
        while True:
            yield WAIT

    def load(request_id, request):
        yield Finished(request_id, FinishReason.DONE)

    app = open_app({WatchStatus: watch, LoadModel: load})
    qtbot.waitUntil(lambda: app.models.loaded is not None)
    assert app.window.picker.button.text() == "Starter model"


def test_it_is_on_again_after_a_restart_once_the_engine_is_there(open_app, qtbot):
    first = open_app()
    first.window.show_page(first.window.server_page)
    turn_on(first, qtbot)
    first.server.set_port(9000)
    qtbot.waitUntil(lambda: first.server.address == "http://127.0.0.1:9000")
    first.window.leave()
    second = open_app()
    qtbot.waitUntil(lambda: second.server.is_on)
    assert second.server.address == "http://127.0.0.1:9000"
    assert isinstance(second.fake.requests[0], LoadModel)
    second.server.turn(False)
    second.window.leave()
    third = open_app()
    qtbot.waitUntil(lambda: third.models.loaded is not None)
    assert third.server.switch is Switch.OFF


def test_quitting_stops_the_server(app, page, qtbot):
    turn_on(app, qtbot)
    app.window.leave()
    assert app.shut_down()
    assert app.serving.running == []


def test_tab_leads_through_the_page(app, page, qtbot):
    turn_on(app, qtbot)
    page.switch.button.setFocus()
    reached = []
    for _ in range(40):
        qtbot.keyClick(app.window.focusWidget(), Qt.Key.Key_Tab)
        reached.append(app.window.focusWidget())
    key, access = page.switch.key, page.access
    order = [page.switch.address.copy_button, key.show_button, key.row.copy_button, key.renew_button]
    order += [page.snippets.tabs, page.snippets.copy_button, page.snippets.code, page.requests.keep, access.here]
    order += [access.switches, access.origins, access.port]
    places = [reached.index(widget) for widget in order]
    assert places == sorted(places)


def test_what_goes_wrong_is_told_on_the_page_that_is_seen(app, page, qtbot):
    app.report_bug(ZeroDivisionError())
    assert page.banner.isVisible()
    page.banner.dismiss_button.click()
    app.models.failed.send(Failed("r1", "hub", "The Hub cannot be reached.", "Try later.", Fault.USER))
    assert page.banner.message == "The Hub cannot be reached."
    app.window.show_page(app.page)
    app.window.show_page(page)
    assert not page.banner.isVisible()

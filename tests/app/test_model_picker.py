"""The picker shows how the model is, and chooses, downloads and cancels."""

import pytest
from PySide6.QtCore import QModelIndex, Qt

from app.models.model_list import ROW_ROLE, ModelListModel
from app.state.catalogue import Machine, read_catalogue
from app.state.models import STARTER, ModelsState
from app.widgets.model_picker import ModelPicker
from app.widgets.welcome import Welcome
from engine.api.events import Finished, FinishReason, LocalModel, Progress, Stage
from engine.api.request import ListModels, LoadModel, PullModel
from tests.app.paths import RESOURCES
from tests.app.state.ports import NotingPort
from tests.app.state.test_models import finish_load

MAC_8GB = Machine(8_000_000_000, on_cpu=False)
BEST = "mlx-community/SmolVLM-Instruct-8bit"
TOO_LARGE = "mlx-community/Idefics3-8B-Llama3-4bit"


@pytest.fixture
def port():
    return NotingPort()


@pytest.fixture
def state(port):
    return ModelsState(port, read_catalogue(RESOURCES / "catalogue.json"), MAC_8GB)


@pytest.fixture
def picker(qtbot, state):
    picker = ModelPicker(state)
    qtbot.addWidget(picker)
    picker.show()
    return picker


def line_of(picker, source):
    model = picker.list.model
    return next(model.index(row) for row in range(model.rowCount()) if model.index(row).data(ROW_ROLE).source == source)


def test_progress_while_loading_then_ready(picker, state):
    state.load(STARTER)
    assert picker.progress.isVisible()
    assert picker.progress.maximum() == 0, "it does not know yet"
    state.take(Progress("r1", Stage.LOADING, 45, 100))
    assert (picker.progress.value(), picker.progress.maximum()) == (45, 100)
    assert "45%" in picker.state_label.text()
    finish_load(state, "r1")
    assert not picker.progress.isVisible()
    assert not picker.cancel_button.isVisible()
    assert picker.button.text() == "Starter model"
    assert picker.button.accessibleName() == "Model: Starter model. Ready · 540\u00a0MB in memory"
    assert "Runs on CPU (fake)" in picker.button.toolTip()


def test_cancel_stops_the_download(picker, state, port):
    state.download(BEST)
    picker.cancel_button.click()
    assert port.cancelled == ["r1"]
    state.take(Finished("r1", FinishReason.CANCELLED))
    assert not picker.cancel_button.isVisible()
    assert picker.state_label.text() == "No model is loaded"


def test_opening_the_list_asks_what_is_here(picker, state, port):
    picker.button.click()
    assert port.requests == [ListModels()]
    assert picker.list.isVisible()
    state.take(Finished("r1", FinishReason.DONE, models=(LocalModel("lab/mine", "/m", "llama", 5),)))
    assert line_of(picker, "lab/mine").data() == "mine"


def test_clicking_a_local_model_loads_it(picker, state, port, qtbot):
    picker.button.click()
    state.take(Finished("r1", FinishReason.DONE, models=(LocalModel("lab/mine", "/m", "llama", 5),)))
    place = picker.list.view.visualRect(line_of(picker, "lab/mine")).center()
    qtbot.mouseClick(picker.list.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert port.requests[-1] == LoadModel("lab/mine")
    assert not picker.list.isVisible()


def test_the_keyboard_chooses_too_and_headings_are_skipped(picker, port, qtbot):
    picker.button.click()
    assert picker.list.view.currentIndex().data() == "Starter model"
    qtbot.keyClick(picker.list.view, Qt.Key.Key_Down)
    assert picker.list.view.currentIndex().data() == "SmolVLM 256M"
    qtbot.keyClick(picker.list.view, Qt.Key.Key_Up)
    qtbot.keyClick(picker.list.view, Qt.Key.Key_Return)
    assert port.requests[-1] == LoadModel(STARTER)


def test_an_offer_is_downloaded(picker, port):
    picker.list.choose(line_of(picker, BEST))
    assert port.requests == [PullModel(BEST)]


def test_what_cannot_fit_and_headings_cannot_be_chosen(picker, port):
    picker.list.choose(line_of(picker, TOO_LARGE))
    picker.list.choose(picker.list.model.index(0))
    picker.list.choose(QModelIndex())
    assert port.requests == []


def test_escape_closes_the_list(picker, qtbot):
    picker.button.click()
    qtbot.keyClick(picker.list.view, Qt.Key.Key_Escape)
    assert not picker.list.isVisible()


def test_the_whole_list_can_be_drawn_and_fits_without_scrolling(picker):
    picker.button.click()
    assert not picker.list.grab().isNull()
    assert picker.list.view.verticalScrollBar().maximum() == 0


def test_lines_are_told_to_those_who_do_not_see_them(state, qtmodeltester):
    model = ModelListModel(state)
    qtmodeltester.check(model, force_py=True)
    text = model.index(1).data(Qt.ItemDataRole.AccessibleTextRole)
    assert "150-million-parameter" in text
    assert "weak at counting" in text


def test_the_welcome_says_what_the_starter_is_and_gets_a_better_one_in_one_click(qtbot, state, port):
    welcome = Welcome(state, has_sample=True)
    qtbot.addWidget(welcome)
    welcome.show()
    card = welcome.starter_card
    assert not card.isVisible()
    state.load(STARTER)
    finish_load(state, "r1")
    assert card.isVisible()
    assert card.better_button.text() == "Get SmolVLM 2B, 8-bit (2.5\u00a0GB)"
    card.better_button.click()
    assert port.requests[-1] == PullModel(BEST)
    assert not card.better_button.isEnabled(), "one download is enough"


def test_a_better_model_already_here_is_used_instead_of_fetched(qtbot, state, port):
    welcome = Welcome(state, has_sample=False)
    qtbot.addWidget(welcome)
    state.refresh()
    state.take(Finished("r1", FinishReason.DONE, models=(LocalModel(BEST, "/m", "idefics3", 5),)))
    state.load(STARTER)
    finish_load(state, "r2")
    assert welcome.starter_card.better_button.text() == "Use SmolVLM 2B, 8-bit"
    welcome.starter_card.better_button.click()
    assert port.requests[-1] == LoadModel(BEST)

"""Whether closing the window leaves the app in the menu bar."""

import pytest

from app.state.menu_bar import MenuBarChoices, MenuBarState
from tests.app.state.ports import collect


def state(*, available=True, **choices):
    made = MenuBarState(MenuBarChoices(**choices))
    if available:
        made.make_available()
    return made


def test_it_goes_on_while_it_serves():
    assert state().keeps_running(is_serving=True)


@pytest.mark.parametrize(
    ("made", "is_serving"),
    [
        (state(), False),
        (state(available=False), True),
        (state(is_shown=False), True),
        (state(keeps_running=False), True),
    ],
    ids=["nothing to serve", "no menu bar", "hidden", "not wanted"],
)
def test_closing_ends_it_otherwise(made, is_serving):
    assert not made.keeps_running(is_serving=is_serving)


def test_choices_are_told_once():
    made = state()
    changes = collect(made.changed)
    made.show(False)
    made.show(False)
    made.note_told()
    assert len(changes) == 2
    assert made.choices == MenuBarChoices(is_shown=False, was_told=True)

"""Whether Fovea has an item in the menu bar, and whether closing the window leaves it running there.

Knows nothing of menu bars or windows.
"""

import sys
from dataclasses import dataclass, replace

from app.state.notice import Notice

PLACE = "menu bar" if sys.platform == "darwin" else "system tray"
"""What it is called on this system."""


@dataclass(frozen=True, slots=True)
class MenuBarChoices:
    is_shown: bool = True
    keeps_running: bool = True
    """Whether the window can be closed while the local API is on."""
    was_told: bool = False
    """Whether a person has been told once that it went on running."""


class MenuBarState:
    """Attributes: `changed` sends this object after each change."""

    def __init__(self, choices: MenuBarChoices) -> None:
        self.changed: Notice[MenuBarState] = Notice()
        self.choices = choices
        self.is_available = False
        """Whether this system has a place for such items, and there is one."""

    @property
    def is_shown(self) -> bool:
        return self.is_available and self.choices.is_shown

    def keeps_running(self, *, is_serving: bool) -> bool:
        """Whether closing the window leaves the app in the menu bar; without an item nobody could get it back."""
        return self.is_shown and self.choices.keeps_running and is_serving

    def make_available(self) -> None:
        self.is_available = True
        self.changed.send(self)

    def show(self, shown: bool) -> None:
        self._choose(replace(self.choices, is_shown=shown))

    def keep_running(self, keep: bool) -> None:
        self._choose(replace(self.choices, keeps_running=keep))

    def note_told(self) -> None:
        self._choose(replace(self.choices, was_told=True))

    def _choose(self, choices: MenuBarChoices) -> None:
        if choices != self.choices:
            self.choices = choices
            self.changed.send(self)

"""A scroll area that stays at its end while its content grows, until somebody scrolls away from there.

Knows nothing of the content.
"""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QWidget

_NEAR = 24
"""Pixels from the end that still count as being there."""


class TranscriptScroll(QScrollArea):
    """Signals: `left_end(away)`, when the view leaves the end or comes back to it."""

    left_end = Signal(bool)

    def __init__(self, content: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sticks = True
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(content)
        bar = self.verticalScrollBar()
        bar.setSingleStep(24)
        bar.rangeChanged.connect(self._on_range_changed)
        bar.valueChanged.connect(self._on_value_changed)

    @property
    def sticks(self) -> bool:
        return self._sticks

    def go_to_end(self) -> None:
        self._set_sticks(True)
        bar = self.verticalScrollBar()
        bar.setValue(bar.maximum())

    def _on_range_changed(self, _minimum: int, maximum: int) -> None:
        if self._sticks:
            self.verticalScrollBar().setValue(maximum)

    def _on_value_changed(self, value: int) -> None:
        self._set_sticks(value >= self.verticalScrollBar().maximum() - _NEAR)

    def _set_sticks(self, sticks: bool) -> None:
        if sticks != self._sticks:
            self._sticks = sticks
            self.left_end.emit(not sticks)

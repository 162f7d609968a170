"""A row that keeps one widget in the middle, as wide as it may be.

Knows nothing of the widget. An alignment would do the same, but forget that wrapped text needs more height.
"""

from PySide6.QtWidgets import QHBoxLayout, QWidget

_NEARLY_ALL = 1000


def centred(widget: QWidget) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.addStretch(1)
    row.addWidget(widget, _NEARLY_ALL)
    row.addStretch(1)
    return row

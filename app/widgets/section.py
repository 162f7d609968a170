"""A card of a page: a heading, a few words beside it, and what belongs together beneath.

Knows nothing of its contents.
"""

from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget


class Section(QFrame):
    """Attributes: `body`, the layout beneath the heading; `aside`, a caption across from it."""

    def __init__(self, heading: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.setAccessibleName(heading)
        self.aside = caption()
        self.head = QHBoxLayout()
        self.head.setSpacing(8)
        self.heading = titled(heading, "heading")
        self.head.addWidget(self.heading, 1)
        self.head.addWidget(self.aside)
        self.body = QVBoxLayout()
        self.body.setSpacing(10)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 14, 18, 16)
        layout.setSpacing(10)
        layout.addLayout(self.head)
        layout.addLayout(self.body)


def titled(text: str, role: str) -> QLabel:
    label = QLabel(text)
    label.setProperty("role", role)
    return label


def caption(text: str = "") -> QLabel:
    """Small print, on as many lines as it needs."""
    label = titled(text, "caption")
    label.setWordWrap(bool(text))
    return label

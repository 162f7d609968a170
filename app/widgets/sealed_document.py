"""A text document that loads nothing: no picture, style sheet or page, from nowhere.

Knows nothing of Markdown.
"""

from PySide6.QtCore import QUrl
from PySide6.QtGui import QTextDocument


class SealedDocument(QTextDocument):
    """Attributes: `refused` lists what something in the document wanted to have loaded."""

    def __init__(self, parent: object = None) -> None:
        super().__init__(parent)
        self.refused: list[str] = []
        self.setUndoRedoEnabled(False)
        self.setDocumentMargin(0)

    def loadResource(self, kind: int, url: QUrl) -> None:
        self.refused.append(url.toString())

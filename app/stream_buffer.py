"""Slows a stream of small text pieces down to what eyes and layouts can follow, about 30 deliveries a second.

Knows nothing of who draws the text. The first piece after a pause passes at once; order is kept.
"""

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtCore import QTimer

from engine.api.events import TextDelta, ThinkingDelta

INTERVAL_MS = 33

Piece = TextDelta | ThinkingDelta


class StreamBuffer:
    def __init__(self, deliver: Callable[[Piece], object], timer: QTimer) -> None:
        self._deliver = deliver
        self._pending: list[Piece] = []
        self._timer = timer
        timer.setSingleShot(True)
        timer.setInterval(INTERVAL_MS)
        timer.timeout.connect(self._on_timeout)

    def add(self, piece: Piece) -> None:
        last = self._pending[-1] if self._pending else None
        if last is not None and type(last) is type(piece) and last.request_id == piece.request_id:
            self._pending[-1] = replace(last, text=last.text + piece.text, tokens=last.tokens + piece.tokens)
        else:
            self._pending.append(piece)
        if not self._timer.isActive():
            self._hand_over()

    def flush(self) -> None:
        """Deliver what is left now, as before the end of an answer."""
        self._timer.stop()
        pieces, self._pending = self._pending, []
        for piece in pieces:
            self._deliver(piece)

    def _on_timeout(self) -> None:
        if self._pending:
            self._hand_over()

    def _hand_over(self) -> None:
        self.flush()
        self._timer.start()

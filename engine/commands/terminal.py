"""What a person at a terminal sees: answers on one stream, progress and remarks on the other.

Knows nothing of requests; of events it knows only `Progress`.
"""

import json
import shutil
import sys
from dataclasses import dataclass, field
from typing import TextIO

from engine.api.events import Progress, Stage
from engine.sizes import format_size

_CLEAR_LINE = "\r\x1b[2K"
_COUNTED_IN_BYTES = (Stage.DOWNLOADING, Stage.LOADING, Stage.CONVERTING)


@dataclass(slots=True)
class Terminal:
    """Answers go to `out` and nothing else does; all else goes to `err`. Progress is shown only to a person."""

    input: TextIO = field(default_factory=lambda: sys.stdin)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    _progress_shown: bool = False

    @property
    def is_watched(self) -> bool:
        """Whether a person looks at progress."""
        return self.err.isatty()

    @property
    def is_typed(self) -> bool:
        """Whether a person sits at the keyboard."""
        return self.input.isatty()

    def write(self, text: str) -> None:
        """A piece of the answer, at once."""
        self.clear_progress()
        self.out.write(text)
        self.out.flush()

    def write_json(self, value: object) -> None:
        self.write(json.dumps(value, ensure_ascii=False) + "\n")

    def remark(self, text: str) -> None:
        self.clear_progress()
        print(text, file=self.err, flush=True)

    def show_progress(self, progress: Progress) -> None:
        """One line that is written over and over."""
        if not self.is_watched:
            return
        width = shutil.get_terminal_size().columns
        self.err.write(_CLEAR_LINE + describe_progress(progress)[: width - 1])
        self.err.flush()
        self._progress_shown = True

    def clear_progress(self) -> None:
        if self._progress_shown:
            self.err.write(_CLEAR_LINE)
            self.err.flush()
            self._progress_shown = False


def describe_progress(progress: Progress) -> str:
    """Such as "Loading weights: 1.2 GB of 3.4 GB, 35%"."""
    show = format_size if progress.stage in _COUNTED_IN_BYTES else str
    stage = progress.stage.value.capitalize()
    amount = ""
    if progress.total:
        amount = f": {show(progress.done)} of {show(progress.total)}, {100 * progress.done // progress.total}%"
    elif progress.done:
        amount = f": {show(progress.done)}"
    return stage + amount + (f" ({progress.note})" if progress.note else "")

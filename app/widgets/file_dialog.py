"""Asks for files to attach.

Knows nothing of what becomes of them.
"""

from pathlib import Path

from PySide6.QtWidgets import QFileDialog, QWidget

from app.state.media_kinds import CLIP_SUFFIXES, PICTURE_SUFFIXES

_PICTURES, _CLIPS = (" ".join(f"*{suffix}" for suffix in each) for each in (PICTURE_SUFFIXES, CLIP_SUFFIXES))
_FILTERS = f"Pictures and clips ({_PICTURES} {_CLIPS});;Pictures ({_PICTURES});;Clips ({_CLIPS});;All files (*)"


def ask_for_files(parent: QWidget) -> list[Path]:
    """Empty if somebody changes their mind."""
    names, _ = QFileDialog.getOpenFileNames(parent, "Attach pictures or clips", "", _FILTERS)
    return [Path(name) for name in names]

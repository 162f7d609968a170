"""A clip's frames one after the other, upright and RGB: by OpenCV's FFmpeg, or Pillow for an animated GIF.

Knows nothing of which frames are wanted. A frame that is only passed over is never turned into pixels.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL.GifImagePlugin import GifImageFile

from engine.models.media.colour import to_rgb

_GIF_DELAY = 0.1
"""Seconds, where a file says none: what browsers take."""


class Frames(Protocol):
    """One reading of a clip, from its beginning."""

    def promised(self) -> tuple[int, float]:
        """How many frames the file says it has, and how many a second; 0 for what it does not say."""
        ...

    def steps(self) -> Iterator[float]:
        """Steps from frame to frame as far as they can be decoded; yields when each begins, in seconds."""
        ...

    def pixels(self) -> np.ndarray:
        """(H, W, 3) uint8 of the frame it stands on."""
        ...

    def close(self) -> None: ...


class ContainerFrames:
    """Of MP4, QuickTime, Matroska, WebM, AVI and MPEG. The caller has checked that the file begins like one: FFmpeg
    would follow what a playlist names."""

    def __init__(self, path: Path) -> None:
        cv2 = _opencv()
        self._cv2 = cv2
        self._capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)

    def promised(self) -> tuple[int, float]:
        count, rate = (self._capture.get(key) for key in (self._cv2.CAP_PROP_FRAME_COUNT, self._cv2.CAP_PROP_FPS))
        # A stream without a length gives a large negative number here.
        return max(int(count), 0), rate if 0 < rate <= 1000 else 0.0

    def steps(self) -> Iterator[float]:
        while self._capture.grab():
            yield self._capture.get(self._cv2.CAP_PROP_POS_MSEC) / 1000

    def pixels(self) -> np.ndarray:
        _, frame = self._capture.retrieve()
        return frame[..., ::-1]

    def close(self) -> None:
        self._capture.release()


class GifFrames:
    def __init__(self, path: Path) -> None:
        self._file = GifImageFile(str(path))

    def promised(self) -> tuple[int, float]:
        return 0, 0.0

    def steps(self) -> Iterator[float]:
        time = 0.0
        while True:
            yield time
            time += self._file.info.get("duration", 0) / 1000 or _GIF_DELAY
            try:
                self._file.seek(self._file.tell() + 1)
                self._file.load()
            except (EOFError, OSError, ValueError, SyntaxError):
                return

    def pixels(self) -> np.ndarray:
        return np.asarray(to_rgb(self._file))

    def close(self) -> None:
        self._file.close()


def _opencv() -> Any:
    # FFmpeg's remarks about damaged files go to standard error past everything; OpenCV reads this when it is imported.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2

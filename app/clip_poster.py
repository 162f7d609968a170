"""One frame that stands for a clip, and how long the clip lasts.

Knows nothing of threads: both take their time. Whoever calls has seen that the file begins like a clip, because FFmpeg
would follow what a playlist names.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QByteArray, QIODevice, QSize, Qt
from PySide6.QtGui import QImage, QImageReader

MAX_PIXELS = 40_000_000
"""Larger frames are not decoded."""
_WAY_IN = 24
"""Frames passed over, where there are as many: the first one is often black."""
_GIF_DELAY_MS = 100
"""Where a file says none: what browsers take."""
_MAX_GIF_FRAMES = 1000
"""Each has to be decoded to learn how long it is shown."""


@dataclass(frozen=True, slots=True)
class Poster:
    image: QImage
    """Null where no frame can be read."""
    duration: float | None
    """Seconds, where the file says so."""


def read_poster(path: Path, edge: int) -> Poster:
    """Of MP4, QuickTime, Matroska, WebM, AVI and MPEG; no side longer than `edge`."""
    cv2 = _opencv()
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        image = QImage()
        if capture.get(cv2.CAP_PROP_FRAME_WIDTH) * capture.get(cv2.CAP_PROP_FRAME_HEIGHT) <= MAX_PIXELS:
            image = _frame(capture)
        count, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    finally:
        capture.release()
    # A stream without a length gives a large negative number of frames.
    return Poster(fitted(image, edge), count / rate if count > 0 and 0 < rate <= 1000 else None)


def read_animation(data: bytes, edge: int) -> Poster | None:
    """Of a GIF; `None` if it stands still."""
    buffer = QBuffer()
    buffer.setData(QByteArray(data))
    buffer.open(QIODevice.OpenModeFlag.ReadOnly)
    reader = QImageReader(buffer)
    count = reader.imageCount()
    size = reader.size()
    if count < 2 or size.width() * size.height() > MAX_PIXELS:
        return None
    image = reader.read()
    milliseconds = reader.nextImageDelay() or _GIF_DELAY_MS
    if count > _MAX_GIF_FRAMES:
        return Poster(fitted(image, edge), None)
    while not reader.read().isNull():
        milliseconds += reader.nextImageDelay() or _GIF_DELAY_MS
    return Poster(fitted(image, edge), milliseconds / 1000)


def fitted(image: QImage, edge: int) -> QImage:
    """Never enlarged."""
    if max(image.width(), image.height()) <= edge:
        return image
    return image.scaled(
        QSize(edge, edge), Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
    )


def _frame(capture: Any) -> QImage:
    first = capture.read()
    ahead = (False, None)
    if all(capture.grab() for _ in range(_WAY_IN)):
        ahead = capture.retrieve()
    for was_read, pixels in (ahead, first):
        if was_read:
            height, width, _ = pixels.shape
            return QImage(pixels.data, width, height, pixels.strides[0], QImage.Format.Format_BGR888).copy()
    return QImage()


def _opencv() -> Any:
    # FFmpeg's remarks about damaged files go to standard error past everything; OpenCV reads this when it is imported.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2

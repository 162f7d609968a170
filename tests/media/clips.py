"""Small clips, written for the tests: each frame is one shade, so that it can be told which frame was read."""

import io
import struct
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

STEP = 9
"""Between the shades of two frames."""


def write(path: Path, count: int, *, fps: float = 10.0, size: tuple[int, int] = (64, 48), fourcc: str = "mp4v") -> Path:
    """`size` is width and height."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*fourcc), fps, size)
    assert writer.isOpened()
    for number in range(count):
        frame = np.full((size[1], size[0], 3), min(number * STEP, 255), np.uint8)
        frame[: size[1] // 2, : size[0] // 2] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


def write_avi(path: Path, count: int, **how) -> Path:
    return write(path, count, fourcc="MJPG", **how)


def gif(durations: list[int], size: tuple[int, int] = (32, 24)) -> bytes:
    """A frame for each of these, shown for so many milliseconds."""
    frames = [Image.new("RGB", size, (number * STEP,) * 3) for number in range(len(durations))]
    data = io.BytesIO()
    frames[0].save(data, "GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return data.getvalue()


def shades(frames: np.ndarray) -> list[int]:
    """Which frames these are, told by their lower right corner."""
    return [round(float(frame[-4:, -4:].mean()) / STEP) for frame in frames]


def turned(path: Path) -> Path:
    """The same MP4, to be shown a quarter turned to the right (the matrix of its track header, ISO/IEC 14496-12)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    target = path.with_stem(path.stem + "-turned")
    target.write_bytes(data.replace(b"edts", b"free"))
    return target


def with_pause(path: Path, first: int, factor: int) -> Path:
    """The same MP4, whose frames from number `first` on are each shown `factor` times as long."""
    data = bytearray(path.read_bytes())
    at = data.index(b"stts") + 4
    _, entries, count, delta = struct.unpack(">4I", data[at : at + 16])
    assert entries == 1
    data[at : at + 16] = struct.pack(">6I", 0, 2, first, delta, count - first, delta * factor)
    for box in (b"stts", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        start = data.index(box) - 4
        data[start : start + 4] = struct.pack(">I", struct.unpack(">I", data[start : start + 4])[0] + 8)
    # An edit list would end the clip where it ended before.
    target = path.with_stem(path.stem + "-uneven")
    target.write_bytes(data.replace(b"edts", b"free"))
    return target

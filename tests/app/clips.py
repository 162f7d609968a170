"""Clips written for a test."""

import cv2
import numpy as np
from PIL import Image

CODECS = {
    **dict.fromkeys((".mp4", ".mov", ".m4v", ".mkv"), "mp4v"),
    ".webm": "VP80",
    ".avi": "MJPG",
    ".mpg": "mpg2",
}


def write_clip(path, frames=50, fps=25, size=(64, 48)):
    """Black at first, green from the third frame on; 2 seconds unless told otherwise."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*CODECS[path.suffix]), fps, size)
    assert writer.isOpened()
    for number in range(frames):
        writer.write(np.full((size[1], size[0], 3), (0, 200 if number >= 2 else 0, 0), np.uint8))
    writer.release()
    return path


def write_gif(path, frames=4, milliseconds=300):
    colours = ("red", "green", "blue", "white", "black")
    first, *rest = [Image.new("RGB", (40, 30), colours[number % 5]) for number in range(frames)]
    first.save(path, save_all=True, append_images=rest, duration=milliseconds, loop=0)
    return path

"""A picture or a clip as a person names it, in a command or in a program, to the part of a message that carries it.

Knows nothing of what is in it. What can be seen to be wrong with the name is told before any model is loaded.
"""

from pathlib import Path

from engine.api.errors import MediaError
from engine.api.request import Image, Video


def image_part(source: str | Path) -> Image:
    """From a file's path or a `data:` URI. Raises `MediaError` for what cannot be one."""
    return Image(*_source(source))


def video_part(
    source: str | Path, *, fps: float | None = None, max_frames: int | None = None, as_pictures: int | None = None
) -> Video:
    """The same for a clip. Raises `RequestError`, too, for numbers out of range."""
    return Video(*_source(source), fps=fps, max_frames=max_frames, as_pictures=as_pictures)


def _source(source: str | Path) -> tuple[Path | str, str]:
    named = str(source)
    if named.startswith("data:"):
        return named, "data: URI"
    if named.startswith(("http://", "https://")):
        raise MediaError(f"{named} is on the web, and Fovea fetches nothing.", "Download it, then give the file.")
    path = Path(source).expanduser()
    if not path.exists():
        raise MediaError(f"There is no file {named}.", "Check the spelling and the folder.")
    if not path.is_file():
        raise MediaError(f"{named} is not a file.", "Give the file itself.")
    return path, path.name

"""A picture as a person names it, in a command or in a program, to the part of a message that carries it.

Knows nothing of what is in it. What can be seen to be wrong with the name is told before any model is loaded.
"""

from pathlib import Path

from engine.api.errors import MediaError
from engine.api.request import Image


def image_part(source: str | Path) -> Image:
    """From a file's path or a `data:` URI. Raises `MediaError` for what cannot be one."""
    named = str(source)
    if named.startswith("data:"):
        return Image(named, "data: URI")
    if named.startswith(("http://", "https://")):
        raise MediaError(f"{named} is on the web, and Fovea fetches no pictures.", "Download it, then give the file.")
    path = Path(source).expanduser()
    if not path.exists():
        raise MediaError(f"There is no file {named}.", "Check the spelling and the folder.")
    if not path.is_file():
        raise MediaError(f"{named} is not a file.", "Give the picture itself.")
    return Image(path, path.name)

"""The arguments of a call to the request they stand for.

Knows nothing of how it is answered.
"""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, Image, RenderedPrompt
from engine.api.settings import SamplingSettings
from engine.attachment import image_part
from engine.python.loading import Processor
from engine.python.refusal import OF_GENERATING, refuse

if TYPE_CHECKING:
    import PIL.Image

DEFAULT_MAX_TOKENS = 2048
_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
_SAMPLING = frozenset(SamplingSettings.__dataclass_fields__)

Picture = str | Path | bytes | Any
"""A file, a `data:` URI, the bytes of a file, or a PIL image."""


def answer_request(
    function: str, processor: Processor, prompt: str, image: Any, options: dict[str, Any]
) -> GenerateRequest:
    """Raises `RequestError` for what cannot be honoured, `TypeError` for what is no argument, `function` by name."""
    if not isinstance(prompt, str):
        raise TypeError(f"{function}() takes a prompt that apply_chat_template() gave, not {type(prompt).__name__}")
    options = dict(options)
    max_tokens = options.pop("max_tokens", DEFAULT_MAX_TOKENS)
    stop = options.pop("stop", ())
    sampling = {name: options.pop(name) for name in _SAMPLING & set(options)}
    refuse(function, options, OF_GENERATING)
    images = images_of(image)
    if images and processor.marker and processor.marker not in prompt:
        raise RequestError(
            "The prompt has no place for the pictures.",
            "Make it with apply_chat_template(processor, config, prompt, num_images=...).",
            code="marker_mismatch",
        )
    return GenerateRequest(
        RenderedPrompt(prompt, images),
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        sampling=SamplingSettings(**sampling),
        logprobs=True,
    )


def images_of(given: Any) -> tuple[Image, ...]:
    if given is None:
        return ()
    if isinstance(given, list | tuple):
        return tuple(map(_image, given))
    return (_image(given),)


def _image(picture: Picture) -> Image:
    if isinstance(picture, str | Path):
        return image_part(picture)
    if isinstance(picture, bytes):
        return Image(picture, "bytes")
    from PIL import Image as pillow

    if isinstance(picture, pillow.Image):
        return Image(_as_file(picture), "PIL image")
    raise TypeError(f"a picture is a path, a data: URI, bytes or a PIL image, not {type(picture).__name__}")


def _as_file(picture: "PIL.Image.Image") -> bytes:
    """Upright, as a PNG, which knows no printers' colours."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(picture)
    file = BytesIO()
    (upright if upright.mode in _PNG_MODES else upright.convert("RGB")).save(file, "PNG")
    return file.getvalue()

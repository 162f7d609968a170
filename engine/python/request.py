"""The arguments of a call to the request they stand for.

Knows nothing of how it is answered.
"""

import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError
from engine.api.request import GenerateRequest, Image, MediaPart, RenderedPrompt, Video
from engine.api.response_format import ResponseFormat
from engine.api.settings import SamplingSettings
from engine.api.tools import Tool, ToolChoice
from engine.attachment import image_part, video_part
from engine.python.loading import Processor
from engine.python.refusal import OF_GENERATING, refuse

if TYPE_CHECKING:
    import PIL.Image

DEFAULT_MAX_TOKENS = 2048
_PNG_MODES = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
_CLIP_OPTIONS = frozenset(("fps", "max_frames"))
_SAMPLING = frozenset(SamplingSettings.__dataclass_fields__)

Picture = str | Path | bytes | Any
"""A file, a `data:` URI, the bytes of a file, or a PIL image."""


def answer_request(
    function: str, processor: Processor, prompt: str, image: Any, video: Any, options: dict[str, Any]
) -> GenerateRequest:
    """Raises `RequestError` for what cannot be honoured, `TypeError` for what is no argument, `function` by name."""
    if not isinstance(prompt, str):
        raise TypeError(f"{function}() takes a prompt that apply_chat_template() gave, not {type(prompt).__name__}")
    options = dict(options)
    max_tokens = options.pop("max_tokens", DEFAULT_MAX_TOKENS)
    stop = options.pop("stop", ())
    sampling = {name: options.pop(name) for name in _SAMPLING & set(options)}
    if isinstance(sampling.get("logit_bias"), Mapping):
        sampling["logit_bias"] = tuple(sampling["logit_bias"].items())
    clip_options = {name: options.pop(name) for name in _CLIP_OPTIONS & set(options)}
    resize_shape = options.pop("resize_shape", None)
    top_logprobs = options.pop("top_logprobs", 0)
    thinking_budget = options.pop("thinking_budget", None)
    response_format = options.pop("response_format", None)
    if response_format is not None and not isinstance(response_format, ResponseFormat):
        kind = type(response_format).__name__
        raise TypeError(f"{function}() takes a response_format of engine.api.response_format, not {kind}")
    tools = tuple(map(Tool.from_openai, options.pop("tools", None) or ()))
    tool_choice = _choice(options.pop("tool_choice", ToolChoice.AUTO))
    refuse(function, options, OF_GENERATING)
    images, clips = images_of(image), clips_of(video, clip_options)
    for media, marker, kind in ((images, processor.marker, "image"), (clips, processor.clip_marker, "video")):
        if media and marker and marker not in prompt:
            raise RequestError(
                f"The prompt has no place for the {kind}s.",
                f"Make it with apply_chat_template(processor, config, prompt, num_{kind}s=...).",
                code="marker_mismatch",
            )
    return GenerateRequest(
        RenderedPrompt(prompt, _in_order(prompt, processor, images, clips)),
        max_tokens=max_tokens,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        sampling=SamplingSettings(**sampling),
        logprobs=True,
        top_logprobs=top_logprobs,
        response_format=response_format,
        resize_shape=_shape(resize_shape),
        thinking_budget=thinking_budget,
        tools=tools,
        tool_choice=tool_choice,
    )


def _choice(given: ToolChoice | str) -> ToolChoice | str:
    """auto, none, required or the name of a tool."""
    words = {choice.value: choice for choice in ToolChoice}
    return words.get(given, given) if isinstance(given, str) else given


def _in_order(
    prompt: str, processor: Processor, images: tuple[Image, ...], clips: tuple[Video, ...]
) -> tuple[MediaPart, ...]:
    """Pictures and clips in the order of their markers; where those are too few or too many, the engine says so."""
    kinds = {
        marker: list(media) for marker, media in ((processor.marker, images), (processor.clip_marker, clips)) if marker
    }
    found = re.findall("|".join(map(re.escape, sorted(kinds, key=len, reverse=True))) or "(?!)", prompt)
    if any(found.count(marker) != len(media) for marker, media in kinds.items()):
        return (*images, *clips)
    return tuple(kinds[marker].pop(0) for marker in found)


def _shape(given: Any) -> tuple[int, int] | None:
    if given is None:
        return None
    return (given, given) if isinstance(given, int) else (given[0], given[1])


def clips_of(given: Any, options: dict[str, Any]) -> tuple[Video, ...]:
    """`given` is a file, a `data:` URI, the bytes of a file, or a list of these."""
    clips = given if isinstance(given, list | tuple) else () if given is None else (given,)
    return tuple(
        Video(clip, "bytes", **options) if isinstance(clip, bytes) else video_part(clip, **options) for clip in clips
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

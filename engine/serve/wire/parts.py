"""What a message is made of: text, pictures, recordings and clips, as OpenAI's clients and mlx-vlm's write them.

A source stays the text that the client wrote: what it leads to, and whether it may, is for the rules of media to say.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BaseModel, Discriminator, Field, Tag

from engine.api.request import Audio, Image, Part, Text, Video
from engine.serve.wire.body import Number, Positive, Words, invalid

_ADDRESSES = ("data:", "http://", "https://", "file://")
_KINDS = {"mp3": "mpeg", "m4a": "mp4"}
"""Of sound, where the name of a format is not that of its media type."""


class Link(BaseModel):
    url: str


class AudioData(BaseModel):
    data: str
    """In base64."""
    format: str = Field("wav", pattern=r"^[a-zA-Z0-9.+-]{1,32}$")


class TextPart(BaseModel):
    type: Literal["text", "input_text", "output_text"]
    text: Words

    def part(self) -> Part:
        return Text(self.text)


class RefusalPart(BaseModel):
    type: Literal["refusal"]
    refusal: Words

    def part(self) -> Part:
        return Text(self.refusal)


class ImagePart(BaseModel):
    type: Literal["image_url", "input_image", "image"]
    image_url: str | Link | None = None
    image: str | Link | None = None
    url: str | None = None

    def part(self) -> Part:
        return Image(_source(self.type, self.image_url, self.image, self.url))


class AudioPart(BaseModel):
    type: Literal["input_audio", "audio_url", "audio"]
    input_audio: AudioData | None = None
    audio_url: str | Link | None = None
    audio: str | Link | None = None

    def part(self) -> Part:
        if (given := self.input_audio) is None:
            return Audio(_source(self.type, self.audio_url, self.audio))
        if given.data.startswith(_ADDRESSES):
            return Audio(given.data)
        kind = given.format.lower()
        return Audio(f"data:audio/{_KINDS.get(kind, kind)};base64,{given.data}")


class VideoPart(BaseModel):
    type: Literal["video_url", "input_video", "video"]
    video_url: str | Link | None = None
    video: str | Link | None = None
    fps: Annotated[Number, Field(ge=0.001, le=1000)] | None = None
    max_frames: Positive | None = None

    def part(self) -> Part:
        frames = None if self.max_frames is None else min(self.max_frames, 100_000)
        return Video(_source(self.type, self.video_url, self.video), fps=self.fps, max_frames=frames)


PartBody = Annotated[TextPart | RefusalPart | ImagePart | AudioPart | VideoPart, Field(discriminator="type")]


def _kind(content: object) -> str:
    return "text" if isinstance(content, str) else "parts"


Content = Annotated[
    Annotated[Words, Tag("text")] | Annotated[list[PartBody], Tag("parts"), Field(max_length=10_000)],
    Discriminator(_kind),
]
"""A text, or a list of parts. Told apart first, so that an error speaks of the one that was meant."""


def parts_of(content: str | Sequence[PartBody] | None) -> tuple[Part, ...]:
    """In the order given."""
    if content is None:
        return ()
    if isinstance(content, str):
        return (Text(content),)
    return tuple(given.part() for given in content)


def text_of(content: str | Sequence[PartBody] | None) -> str:
    """Only what is written in it."""
    return "".join(part.text for part in parts_of(content) if isinstance(part, Text))


def _source(kind: str, *given: str | Link | None) -> str:
    found = [source.url if isinstance(source, Link) else source for source in given if source is not None]
    if not found:
        raise invalid(kind, "has no address", "Give it a data: URI.")
    return found[0]

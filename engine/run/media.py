"""The media of a request: what is refused, what stands in for what, and each of them made ready for the tower.

Knows nothing of templates and tokens. Each piece of work is a step, so that a stop is heard between two of them.
"""

import hashlib
import io
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from PIL import Image as PILImage
from PIL.Image import Resampling

from engine.api.conversation import Conversation, media_of
from engine.api.errors import RequestError
from engine.api.request import Image, MediaPart, Message, Part, RenderedPrompt, Video
from engine.api.settings import MediaLimits
from engine.cache.recent import Recent
from engine.models.base import MediaProcessor, PreparedMedia
from engine.models.clips.plan import ClipFacts, ClipPlan, ClipProcessor, ClipWish
from engine.models.media.clip import clip_digest, read_clip
from engine.models.media.picture import decode_picture, is_animated, stored_size
from engine.models.media.source import Content, read_content
from engine.models.media.wanted import OF_A_PIXEL, Wanted
from engine.models.recipes.pictures import Pair, size_within

FRAMES_OFFERED = 8

KEPT_BYTES = 256 << 20

Pause = Wanted | None
"""Between two pieces of work; or before one, and what it is going to take."""


@dataclass(frozen=True, slots=True)
class Prepared:
    media: PreparedMedia
    size: Pair
    """Height and width as it was given, upright."""
    note: str = ""
    """What a person ought to know of it."""


@dataclass(frozen=True, slots=True)
class Settled:
    conversation: Conversation
    notes: tuple[str, ...] = ()
    """What a person ought to know of what stands in for other parts."""


@dataclass(frozen=True, slots=True)
class MediaReader:
    """What one model takes, and how it is read."""

    pictures: MediaProcessor | None
    clips: ClipProcessor | None
    limits: MediaLimits
    most_pictures: int | None = None
    """That the model takes in one conversation; `None` for any number."""
    kept: Recent[Prepared] = field(default_factory=lambda: Recent(KEPT_BYTES), repr=False)
    """What was made ready lately: a conversation comes with all of its media each time."""

    @property
    def markers(self) -> tuple[str | None, str | None]:
        """What stands in a prompt for a picture, and for a clip."""
        return self.pictures and self.pictures.marker, self.clips and self.clips.marker

    def settle(self, conversation: Conversation) -> Generator[Pause, None, Settled]:
        """The conversation with each part as it will be looked at: clips asked for as pictures are those pictures, and
        an animated picture is a clip where the model takes clips. Raises `RequestError` for what it does not take."""
        if isinstance(conversation, RenderedPrompt):
            if any(isinstance(part, Video) and part.as_pictures for part in conversation.media):
                raise RequestError(
                    "A clip cannot become pictures in a prompt that already has its markers.",
                    "Take the frames out first, or leave the chat template to Fovea.",
                )
            self._check(conversation.media)
            return Settled(conversation)
        settled, notes = [], []
        for message in conversation:
            parts: list[Part] = []
            for part in message.parts:
                found, note = yield from self._settled(part)
                parts += found
                notes += [note] if note else []
            settled.append(Message(message.role, tuple(parts)))
        self._check(media_of(tuple(settled)))
        return Settled(tuple(settled), tuple(notes))

    def prepare(self, part: MediaPart, resize_shape: Pair | None, tenant: str = "") -> Generator[Pause, None, Prepared]:
        """What was made ready before for the same `tenant` is not decoded again. Raises `MediaError` for one that
        cannot be taken."""
        yield
        if isinstance(part, Video):
            key = (tenant, clip_digest(part, self.limits), part.fps, part.max_frames, resize_shape)
            if (found := self.kept.get(key)) is None:
                found = yield from self._prepare_clip(part, resize_shape)
        else:
            content = read_content(part, self.limits.max_bytes)
            key = (tenant, content.digest, resize_shape)
            if (found := self.kept.get(key)) is None:
                if (size := stored_size(content)) is not None:
                    yield Wanted(content.name, size[0] * size[1] * OF_A_PIXEL)
                found = self._prepare_picture(content, resize_shape)
        self.kept.put(key, found, sum(array.nbytes for array in found.media.arrays.values()))
        return found

    def _prepare_picture(self, content: Content, resize_shape: Pair | None) -> Prepared:
        picture = decode_picture(content, self.limits)
        image, digest, size = picture.image, picture.digest, (picture.image.height, picture.image.width)
        if resize_shape is not None:
            image = image.resize(size_within(size, resize_shape)[::-1], Resampling.BICUBIC)
            digest = f"{digest} within {resize_shape}"
        return Prepared(self.pictures.prepare(image, digest), size)

    def _settled(self, part: Part) -> Generator[Pause, None, tuple[tuple[Part, ...], str]]:
        """What stands for a part, and what a person ought to know of it."""
        if isinstance(part, Video) and part.as_pictures and self.pictures is not None:
            return (yield from self._frames_as_pictures(part, part.as_pictures))
        if isinstance(part, Image) and self.clips is not None and is_animated(part, self.limits):
            return (Video(part.source, part.name),), ""
        return (part,), ""

    def _frames_as_pictures(self, part: Video, count: int) -> Generator[None, None, tuple[tuple[Image, ...], str]]:
        def evenly(facts: ClipFacts) -> ClipPlan:
            places = np.linspace(0, facts.count - 1, min(count, facts.count)).round().astype(int)
            return ClipPlan(tuple(places.tolist()), facts.size, Resampling.BICUBIC)

        clip = yield from read_clip(part, self.limits, evenly)
        numbered = zip(clip.plan.indices, clip.frames, strict=True)
        pictures = (Image(_png(frame), f"{clip.name}, frame {number + 1}") for number, frame in numbered)
        return tuple(pictures), clip.note

    def _prepare_clip(self, part: Video, resize_shape: Pair | None) -> Generator[Pause, None, Prepared]:
        wish = ClipWish(part.fps, part.max_frames)

        def choose(facts: ClipFacts) -> ClipPlan:
            if resize_shape is not None:
                facts = replace(facts, size=size_within(facts.size, resize_shape))
            return self.clips.plan(facts, wish)

        clip = yield from read_clip(part, self.limits, choose)
        digest = hashlib.sha256(f"{clip.digest} {asdict(clip.plan)}".encode()).hexdigest()
        media = self.clips.prepare(clip.frames, clip.facts, clip.plan, digest)
        return Prepared(media, clip.facts.size, clip.note)

    def _check(self, parts: list[MediaPart] | tuple[MediaPart, ...]) -> None:
        for part in parts:
            if not self._takes(part):
                raise _refusal(part, takes_pictures=self.pictures is not None)
        pictures = sum(isinstance(part, Image) for part in parts)
        most = min(filter(None, (self.most_pictures, self.limits.max_images)))
        if pictures > most:
            who = "this model takes" if most == self.most_pictures else "are taken"
            raise RequestError(
                f"{pictures} pictures in one conversation; at most {most} {who}.",
                "Remove some, or begin a new chat.",
                code="too_many_images",
            )

    def _takes(self, part: MediaPart) -> bool:
        if isinstance(part, Image):
            return self.pictures is not None
        return isinstance(part, Video) and self.clips is not None


def _refusal(part: MediaPart, *, takes_pictures: bool) -> RequestError:
    kind = "pictures" if isinstance(part, Image) else "clips" if isinstance(part, Video) else "sound"
    hint = "Remove the attachment, or choose a model that takes it."
    if isinstance(part, Video) and takes_pictures:
        hint = f"It can look at single frames as pictures instead, for instance {FRAMES_OFFERED} of them: "
        hint += f"--video-as-pictures {FRAMES_OFFERED}. Or choose a model that takes clips."
    return RequestError(f"This model does not take {kind}.", hint, code="unsupported_media")


def _png(frame: np.ndarray) -> bytes:
    data = io.BytesIO()
    PILImage.fromarray(frame).save(data, "PNG", compress_level=1)
    return data.getvalue()

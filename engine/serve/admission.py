"""How much may be asked at once: places for answers, counted before anything of a request is decoded.

Lives on the server's event loop, so that no lock is needed. Knows nothing of what is asked or answered.
"""

from collections import Counter
from collections.abc import Callable
from types import TracebackType

from engine.api.request import Audio, GenerateRequest, Image, RenderedPrompt, Text, ToolCall, ToolResult, Video
from engine.serve.failures import Overloaded, Refused, TooManyRequests
from engine.serve.settings import Limits

_MOST_SIDE = 32
"""Small requests (lists, counts, vectors) at the same time."""
_RETRY_S = (1.0, 30.0)
_USUAL_ANSWER_S = 5.0
_WEIGHT = 0.2
"""Of the latest answer in how long one usually takes."""


class Slot:
    """A place in the queue, until it is released."""

    def __init__(self, leave: Callable[["Slot"], None], tenant: str, prompt_bytes: int, media_bytes: int) -> None:
        self.tenant = tenant
        self.prompt_bytes = prompt_bytes
        self.media_bytes = media_bytes
        self.is_running = False
        self._leave = leave
        self._left = False

    def release(self) -> None:
        """Once; again changes nothing."""
        if not self._left:
            self._left = True
            self._leave(self)


class Admission:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots: set[Slot] = set()
        self._of_tenant: Counter[str] = Counter()
        self._side = 0
        self._answer_s = _USUAL_ANSWER_S
        self._closed = False

    @property
    def running(self) -> int:
        return sum(slot.is_running for slot in self._slots)

    @property
    def waiting(self) -> int:
        return len(self._slots) - self.running

    @property
    def side(self) -> int:
        """Small requests under way."""
        return self._side

    def close(self) -> None:
        """Nothing more is let in."""
        self._closed = True

    def check_open(self) -> None:
        """Raises `Overloaded` once the server is being stopped."""
        if self._closed:
            raise Overloaded("The server is being stopped.", code="stopping", retry_after_s=self._retry_s())

    def admit(self, tenant: str, prompt_bytes: int, media_bytes: int) -> Slot:
        """Raises `TooManyRequests` where one key has its share, `Overloaded` where everybody has theirs."""
        limits = self._limits
        self.check_open()
        if prompt_bytes > limits.max_prompt_bytes or media_bytes > limits.max_media_bytes:
            raise Refused("The request is larger than all that may wait.", status=413, code="request_too_large")
        if self._of_tenant[tenant] >= limits.max_per_key:
            raise TooManyRequests(
                "This key has as many answers under way as it may have.",
                "Wait for one of them.",
                retry_after_s=self._retry_s(),
            )
        text = sum(slot.prompt_bytes for slot in self._slots) + prompt_bytes
        media = sum(slot.media_bytes for slot in self._slots) + media_bytes
        full = len(self._slots) >= limits.max_running + limits.max_queue
        if full or text > limits.max_prompt_bytes or media > limits.max_media_bytes:
            raise Overloaded(
                "As much is under way as may wait.",
                "Try again later.",
                code="queue_full",
                retry_after_s=self._retry_s(),
            )
        slot = Slot(self._take_back, tenant, prompt_bytes, media_bytes)
        self._slots.add(slot)
        self._of_tenant[tenant] += 1
        return slot

    def learn(self, seconds: float) -> None:
        """How long an answer took: what clients are told of when to come back follows from it."""
        self._answer_s += _WEIGHT * (seconds - self._answer_s)

    def side_request(self) -> "SideRequest":
        """Around a small request. Raises `Overloaded` where too many are under way."""
        self.check_open()
        if self._side >= _MOST_SIDE:
            raise Overloaded("Too much is asked at once.", "Try again later.", code="queue_full", retry_after_s=1.0)
        return SideRequest(self._count_side)

    def _count_side(self, change: int) -> None:
        self._side += change

    def _take_back(self, slot: Slot) -> None:
        self._slots.discard(slot)
        self._of_tenant[slot.tenant] -= 1
        if not self._of_tenant[slot.tenant]:
            del self._of_tenant[slot.tenant]

    def _retry_s(self) -> float:
        least, most = _RETRY_S
        rounds = 1 + self.waiting / self._limits.max_running
        return min(max(self._answer_s * rounds / 2, least), most)


class SideRequest:
    def __init__(self, count: Callable[[int], None]) -> None:
        self._count = count

    def __enter__(self) -> None:
        self._count(1)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._count(-1)


def sizes_of(request: GenerateRequest) -> tuple[int, int]:
    """Bytes of text and of media, as they came: a reference counts for its own length."""
    prompt = request.prompt
    if isinstance(prompt, RenderedPrompt):
        return len(prompt.text), sum(_media_size(part) for part in prompt.media)
    text = sum(len(tool.parameters) + len(tool.description) for tool in request.tools)
    parts = [part for message in prompt for part in message.parts]
    return text + sum(map(_text_size, parts)), sum(map(_media_size, parts))


def _text_size(part: object) -> int:
    match part:
        case Text() | ToolResult():
            return len(part.text)
        case ToolCall():
            return len(part.arguments_json)
    return 0


def _media_size(part: object) -> int:
    if isinstance(part, Image | Audio | Video):
        return len(part.source) if isinstance(part.source, bytes | str) else 0
    return 0

"""The last requests to the local API, and how busy it was in the last minute.

Knows nothing of servers or clocks: it is handed lines, and told what time it is.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

MOST_LINES = 200
WINDOW_S = 60.0


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request that has ended."""

    at: float
    """Seconds since 1970, when it came."""
    client: str
    route: str
    status: int
    """Of HTTP."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    milliseconds: float = 0.0
    asked: str = field(default="", repr=False)
    """The body of the request, where a person wants to have it kept."""
    answered: str = field(default="", repr=False)

    @property
    def is_error(self) -> bool:
        return self.status >= 400

    @property
    def has_bodies(self) -> bool:
        return bool(self.asked or self.answered)

    def without_bodies(self) -> "RequestLine":
        return replace(self, asked="", answered="") if self.has_bodies else self


@dataclass(frozen=True, slots=True)
class Throughput:
    """Of the last minute."""

    requests: int = 0
    tokens_per_second: float = 0.0
    """Written by the model."""


class RequestLog:
    """`lines` has the newest first. `clock` gives seconds that never go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: deque[RequestLine] = deque(maxlen=MOST_LINES)
        self._recent: deque[tuple[float, int]] = deque()

    @property
    def lines(self) -> tuple[RequestLine, ...]:
        return tuple(self._lines)

    def add(self, line: RequestLine) -> None:
        self._lines.appendleft(line)
        self._recent.append((self._clock(), line.completion_tokens))

    def forget_bodies(self) -> None:
        kept = [line.without_bodies() for line in self._lines]
        self._lines.clear()
        self._lines.extend(kept)

    def clear(self) -> None:
        """The lines; how busy it was remains true."""
        self._lines.clear()

    def throughput(self) -> Throughput:
        since = self._clock() - WINDOW_S
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
        return Throughput(len(self._recent), sum(tokens for _, tokens in self._recent) / WINDOW_S)

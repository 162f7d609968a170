"""Tokens to text, as it may be shown: whole characters, nothing of a stop string, thinking and calls told from answer.

Knows nothing of models or requests. Text that may still turn into a marker or a stop string is held back.
"""

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from engine.constrain.thinking_markers import ThinkingMarkers
from engine.run.tools import CUT, Call, CallReader


class Detokenizer(Protocol):
    """mlx-lm's streaming detokenizer."""

    last_segment: str

    def add_token(self, token: int) -> None: ...

    def finalize(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Piece:
    text: str
    thinking: bool = False


class Edge(Enum):
    """What a word does where it is found."""

    STOP = auto()
    THINK = auto()
    ANSWER = auto()
    CALL = auto()
    CALLED = auto()
    SILENT = auto()


class TextStream:
    """One answer. `push` and `finish` give what has become showable; `stopped` says that a stop string came."""

    def __init__(
        self,
        detokenizer: Detokenizer,
        stop: Sequence[str],
        thinking: ThinkingMarkers | None = None,
        calls: CallReader | None = None,
        unshown: Collection[int] = (),
        notes: Sequence[str] = (),
        *,
        held: bool = False,
    ) -> None:
        """`unshown` are control tokens, which are text inside a call only; `notes` are known from the beginning. In an
        answer that is `held` to a form markers mean something in front of it only: within, they are words."""
        self._detokenizer = detokenizer
        self._stop = tuple(stop)
        self._markers = thinking
        self._calls = calls
        self._unshown = unshown
        self._notes = tuple(notes)
        self._is_held = held
        self._held = ""
        self._offset = 0
        """Of what is held, in all the text so far."""
        self._starts: deque[int] = deque()
        """Where the text of each token begins that has not been told from a marker yet."""
        self._in_call = False
        self._after_call = False
        self._has_thought = False
        self._thinking_tokens = 0
        self.thinking = thinking is not None and thinking.open
        self.answering = False
        self.stop_met = ""
        """The stop string that came."""

    @property
    def stopped(self) -> bool:
        return self.stop_met != ""

    @property
    def thinking_tokens(self) -> int:
        """Those between the markers of thinking, of all that have been told from a marker."""
        return self._thinking_tokens

    @property
    def thought(self) -> int:
        """The same, with those that may still become the end marker."""
        return self._thinking_tokens + (len(self._starts) if self.thinking else 0)

    @property
    def called(self) -> bool:
        """Whether a tool was called."""
        return self._calls is not None and self._calls.called

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person ought to know of this answer."""
        return (*self._notes, *(self._calls.notes if self._calls else ()))

    def push(self, token: int) -> list[Piece | Call]:
        self._starts.append(self._offset + len(self._held))
        if token in self._unshown and not self._in_call:
            return []
        self._detokenizer.add_token(token)
        return self._release(self._detokenizer.last_segment, final=False)

    def finish(self, *, complete: bool = True) -> list[Piece | Call]:
        """What is left when the model ended its answer or, not `complete`, when it was ended: a call that has no end
        is then no call, however much of it could be read."""
        self._detokenizer.finalize()
        pieces = self._release(self._detokenizer.last_segment, final=True)
        if self._in_call and not self.stopped:
            if complete:
                self._close_call(pieces, "")
            else:
                self._give_back(pieces, CUT)
        return pieces

    def _release(self, segment: str, *, final: bool) -> list[Piece | Call]:
        if self.stopped:
            return []
        self._held += segment
        pieces: list[Piece | Call] = []
        while (found := self._next_edge()) is not None:
            self._cross(pieces, *found)
            if self.stopped:
                return pieces
        keep = 0 if final else self._kept()
        text = self._take(len(self._held) - keep)
        is_gap = self._after_call and not self._in_call and not self.thinking and text.isspace()
        self._emit(pieces, "" if is_gap else text)
        return pieces

    def _edges(self) -> dict[str, Edge]:
        """The words that mean something here. Stop strings are for the answer, not for thinking or calls."""
        if self._in_call:
            # Without an end of its own, a call ends where the next one starts.
            edges = {self._calls.end: Edge.CALLED} if self._calls.end else {self._calls.start: Edge.CALL}
            return edges | ({self._markers.end: Edge.ANSWER} if self.thinking else {})
        is_within = self._is_held and self.answering
        has_calls = self._calls is not None and (not is_within or self._after_call)
        edges = {self._calls.start: Edge.CALL} if has_calls and not (self._is_held and self.thinking) else {}
        if self.thinking:
            return edges | {self._markers.end: Edge.ANSWER}
        if self._markers is not None and not is_within:
            silent = (*self._markers.silent, *(self._markers.frame if self._has_thought else ()))
            edges |= {word: Edge.SILENT for word in silent} | {self._markers.start: Edge.THINK}
        return edges | {word: Edge.STOP for word in self._stop}

    def _next_edge(self) -> tuple[int, str, Edge] | None:
        found = [(self._held.find(word), word, edge) for word, edge in self._edges().items() if word in self._held]
        if self._is_held and not self.thinking and not self._in_call:
            found = [hit for hit in found if hit[2] is Edge.STOP or not self._held[: hit[0]].strip()]
        return min(found, key=lambda hit: (hit[0], -len(hit[1])), default=None)

    def _cross(self, pieces: list[Piece | Call], at: int, word: str, edge: Edge) -> None:
        """Over the `word` that is held from `at` on."""
        gap = ""
        if edge is Edge.CALL and not self.thinking and not self._in_call:
            gap = self._held[len(self._held[:at].rstrip()) : at]
        self._emit(pieces, self._take(at - len(gap)))
        if self._in_call and self._is_held and not self._calls.whole:
            self._emit(pieces, self._take(len(word)))
            return
        self._take(len(gap) + len(word), is_thought=edge is not Edge.ANSWER)
        if self._in_call:
            self._leave_call(pieces, word, edge)
        match edge:
            case Edge.STOP:
                self._held, self.stop_met = "", word
            case Edge.THINK:
                self.thinking = True
            case Edge.ANSWER:
                self.thinking, self._has_thought = False, True
            case Edge.CALL:
                self._in_call = True
                self._calls.open(gap + word)

    def _leave_call(self, pieces: list[Piece | Call], word: str, edge: Edge) -> None:
        if edge is Edge.ANSWER:
            # Thinking that spoke of calls without making one.
            self._give_back(pieces, "")
        else:
            self._close_call(pieces, word if edge is Edge.CALLED else "")

    def _close_call(self, pieces: list[Piece | Call], end: str) -> None:
        found = self._calls.close(end)
        self._in_call = False
        if isinstance(found, str):
            self._emit(pieces, found)
            return
        pieces += found
        self._after_call = self.answering = True

    def _give_back(self, pieces: list[Piece | Call], note: str) -> None:
        self._in_call = False
        self._emit(pieces, self._calls.give_back(note))

    def _kept(self) -> int:
        """How much of what is held may still become a word; where calls are, space may turn out to stand before one."""
        keep = _overhang(self._held, tuple(self._edges()))
        if Edge.CALL not in self._edges().values() or self._in_call or self.thinking:
            return keep
        return len(self._held) - len(self._held[: len(self._held) - keep].rstrip())

    def _take(self, size: int, *, is_thought: bool = True) -> str:
        """Let go of the first `size` characters held, and of the tokens that they began."""
        text, self._held = self._held[:size], self._held[size:]
        self._offset += size
        while self._starts and self._starts[0] < self._offset:
            self._starts.popleft()
            self._thinking_tokens += self.thinking and is_thought
        return text

    def _emit(self, pieces: list[Piece | Call], text: str) -> None:
        if not text:
            return
        if self._in_call:
            self._calls.take(text)
            return
        pieces.append(Piece(text, self.thinking))
        if not self.thinking and not text.isspace():
            self.answering, self._after_call = True, False


def _overhang(text: str, words: Sequence[str]) -> int:
    """Length of the longest end of `text` that begins one of `words`."""
    longest = max((len(word) for word in words), default=1) - 1
    for size in range(min(longest, len(text)), 0, -1):
        if any(word.startswith(text[-size:]) for word in words):
            return size
    return 0

"""Decides who runs in the next step: every answer under way gets its token, and one prompt goes on by one piece.

Knows nothing of tensors, models or events. First come, first served, within a priority.
"""

from collections import deque
from dataclasses import dataclass

from engine.api.errors import BusyError
from engine.api.request import Priority
from engine.schedule.sequence import Phase, Sequence

_ORDER = tuple(Priority)


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. A prompt is cut into pieces (a picture, a chunk of tokens) so that no stream waits longer than one."""

    prompt: Sequence | None
    decode: tuple[Sequence, ...]
    held_up: tuple[Sequence, ...] = ()
    """To be asked, in this order, whether what they wait for has come; they hold nobody up meanwhile."""


class Scheduler:
    def __init__(self, max_running: int, max_waiting: int) -> None:
        """`max_running` rows decode at the same time; a sequence of more than that runs when nobody else does."""
        self._max_running = max_running
        self._max_waiting = max_waiting
        self._waiting: dict[Priority, deque[Sequence]] = {priority: deque() for priority in Priority}
        self._running: list[Sequence] = []

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def idle(self) -> bool:
        return not self.waiting and not self._running

    def add(self, sequence: Sequence) -> None:
        """Raises `BusyError` when as many wait as may. Those that the next step lets in do not wait."""
        waiting = sum(other.rows for queue in self._waiting.values() for other in queue)
        if self._rows + waiting >= self._max_running + self._max_waiting:
            raise BusyError(
                f"{self.running + self.waiting} requests are being answered or wait already, as many as may.",
                "Ask again when some of them are answered.",
            )
        self._waiting[sequence.priority].append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ended, failed or cancelled: the next that waits may take its place."""
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting[sequence.priority].remove(sequence)

    def plan(self) -> Plan:
        while (queue := next(filter(None, self._waiting.values()), None)) and self._may_run(queue[0]):
            self._running.append(queue.popleft())
        return Plan(
            prompt=next(iter(self._in(Phase.PROMPT)), None),
            decode=tuple(s for s in self._running if s.phase is Phase.DECODE),
            held_up=self._in(Phase.FORM, Phase.ROOM),
        )

    def _may_run(self, sequence: Sequence) -> bool:
        return not self._running or self._rows + sequence.rows <= self._max_running

    @property
    def _rows(self) -> int:
        return sum(sequence.rows for sequence in self._running)

    def is_next_for_room(self, sequence: Sequence) -> bool:
        """Whether nobody ahead of a running sequence waits for memory: a small one never overtakes a large one, which
        might wait for ever."""
        ahead = self._in(*Phase)
        return not any(other.phase is Phase.ROOM for other in ahead[: ahead.index(sequence)])

    def _in(self, *phases: Phase) -> tuple[Sequence, ...]:
        """Those that run and are in one of these phases, whoever goes first in front."""
        found = (s for s in self._running if s.phase in phases)
        return tuple(sorted(found, key=lambda s: _ORDER.index(s.priority)))

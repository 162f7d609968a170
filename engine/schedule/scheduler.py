"""Decides who runs in the next step: every answer under way gets its token, and one prompt goes on by one piece.

Knows nothing of tensors, models or events. First come, first served.
"""

from collections import deque
from dataclasses import dataclass

from engine.schedule.sequence import Phase, Sequence


@dataclass(frozen=True, slots=True)
class Plan:
    """One step. A prompt is cut into pieces (a picture, a chunk of tokens) so that no stream waits longer than one."""

    prompt: Sequence | None
    decode: tuple[Sequence, ...]


class Scheduler:
    def __init__(self, max_running: int) -> None:
        self._max_running = max_running
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def idle(self) -> bool:
        return not self._waiting and not self._running

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Ended, failed or cancelled: the next that waits may take its place."""
        if sequence in self._running:
            self._running.remove(sequence)
        else:
            self._waiting.remove(sequence)

    def plan(self) -> Plan:
        while self._waiting and len(self._running) < self._max_running:
            self._running.append(self._waiting.popleft())
        prompt = next((s for s in self._running if s.phase is Phase.PROMPT), None)
        return Plan(prompt, tuple(s for s in self._running if s.phase is Phase.DECODE))

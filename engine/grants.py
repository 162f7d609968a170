"""Memory as it is given to answers: before a picture is opened, before a prompt is read, and as an answer grows.

Knows nothing of tensors. Who waits is asked again in each step, in the scheduler's order; what cannot be is refused.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from engine.answers import Answer
from engine.api.errors import MemoryRefused
from engine.models.media.wanted import Wanted
from engine.run.room import GROWTH, Granted, Need, Room
from engine.run.runner import Runner
from engine.schedule.scheduler import Scheduler
from engine.schedule.sequence import Phase

AHEAD = 128
"""Tokens before the end of what was counted at which more is asked for: more than one step may write."""


class Grants:
    def __init__(self, room: Room, scheduler: Scheduler, runner: Runner, answers: Mapping[str, Answer]) -> None:
        """`answers` are all those under way, by id."""
        self._room = room
        self._scheduler = scheduler
        self._runner = runner
        self._answers = answers

    def wait_to_open(self, answer: Answer, wanted: Wanted) -> Iterator[None]:
        """Until there is memory to open a picture or clip. Raises `MemoryRefused` if there never would be."""
        need = Need(passing=wanted.bytes)
        yield from self._wait(answer, need, lambda: self._room.too_large(wanted.name, need))

    def wait_to_read(self, answer: Answer) -> Iterator[None]:
        """Until there is memory for a prompt and the answer to it. Raises `MemoryRefused` if there would not be even if
        nobody else were answered."""
        need = self._room.need(answer.prompt, answer.max_tokens, answer.request.n)
        yield from self._wait(answer, need, lambda: self._room.refusal(need, answer.prompt))

    def is_read(self, answer: Answer) -> None:
        """Its prompt: what it took on the way is free again."""
        answer.need = replace(answer.need, passing=0)

    def grow(self, answer: Answer) -> None:
        """Ask for more where an answer comes to the end of what was counted. Raises `MemoryRefused` where there is no
        more: then it is this answer that ends, and not all those that decode beside it."""
        tokens = len(answer.prompt.token_ids)
        most = tokens + answer.max_tokens
        if answer.need.tokens >= most or tokens + answer.longest + AHEAD < answer.need.tokens:
            return
        need = replace(answer.need, tokens=min(answer.need.tokens + GROWTH, most))
        if not self._room.fits(need, self._others(answer), self._held(answer)):
            raise self._room.outgrown(need, answer.longest)
        answer.need = need

    def _wait(self, answer: Answer, need: Need, refusal: Callable[[], MemoryRefused]) -> Iterator[None]:
        # What it had for the piece of work before is not waited for by others.
        answer.need = None
        while True:
            if self._scheduler.is_next_for_room(answer.sequence):
                others = self._others(answer)
                if self._room.fits(need, others):
                    break
                if not others and self._room.fits_alone(need):
                    break
                if not others or self._room.never_fits(need):
                    raise refusal()
            answer.sequence.phase = Phase.ROOM
            yield None
        answer.need = need
        yield from go_on(answer)

    def _others(self, answer: Answer) -> list[Granted]:
        return [
            Granted(other.need, self._held(other))
            for other in self._answers.values()
            if other is not answer and other.need is not None
        ]

    def _held(self, answer: Answer) -> int:
        return max((self._runner.held(choice.row) for choice in answer.open_choices), default=0)


def go_on(answer: Answer) -> Iterator[None]:
    """After a wait, a prompt goes on when it is its turn, not in the step that found out."""
    if answer.sequence.phase is not Phase.PROMPT:
        answer.sequence.phase = Phase.PROMPT
        yield None

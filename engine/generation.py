"""All answers under way with one loaded model: asks the scheduler who runs, the runner to run, and says what came.

Owns the link between a sequence, its tensors and its text. Knows nothing of inboxes, sinks or loading.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field

import mlx.core as mx

from engine.api.events import (
    Event,
    Finished,
    FinishReason,
    Progress,
    Stage,
    TextDelta,
    ThinkingDelta,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from engine.api.request import GenerateRequest
from engine.api.settings import EngineSettings
from engine.constrain.constraint import Constraint
from engine.inbox import Envelope
from engine.run.prompt import Prompt
from engine.run.runner import Runner
from engine.run.text import Piece, TextStream
from engine.run.tools import Call
from engine.schedule.scheduler import Scheduler
from engine.schedule.sequence import Phase, Sequence
from engine.session import Session

Emit = Callable[[Event], None]
Fail = Callable[[str, Exception], None]


@dataclass(slots=True)
class Answer:
    """One request's way from prompt to text."""

    sequence: Sequence
    request: GenerateRequest
    submitted_at: float
    steps: Iterator[Progress | None] | None = None
    """The prompt's remaining pieces of work; `None` is one without news."""
    prompt: Prompt | None = None
    text: TextStream | None = None
    max_tokens: int = 0
    token_ids: list[int] = field(default_factory=list)
    """Of the answer so far."""
    cached: int = 0
    """Tokens of the prompt that were found computed."""
    need: int = 0
    """Bytes of memory that are counted for its caches."""
    prefill_started_at: float = 0.0
    first_token_at: float = 0.0
    unsent: list[TokenLogprob] = field(default_factory=list)

    @property
    def generated(self) -> int:
        return len(self.token_ids)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person ought to know of it."""
        return (*(self.prompt.notes if self.prompt else ()), *(self.text.notes if self.text else ()))

    @property
    def tokens(self) -> int:
        """In its caches, or soon."""
        return len(self.prompt.token_ids) + self.generated if self.prompt else 0


class Generation:
    def __init__(self, session: Session, settings: EngineSettings, emit: Emit, fail: Fail) -> None:
        self._session = session
        self._emit = emit
        self._fail = fail
        self._scheduler = Scheduler(settings.max_running, settings.max_waiting)
        self._runner = Runner(session.checkpoint.model, settings.cache, session.prefixes, session.features)
        self._answers: dict[str, Answer] = {}
        self._end_ids = frozenset(session.checkpoint.generation.eos_token_ids)

    @property
    def idle(self) -> bool:
        return self._scheduler.idle

    @property
    def running(self) -> int:
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        return self._scheduler.waiting

    def add(self, envelope: Envelope, request: GenerateRequest) -> None:
        """Raises `BusyError` when too many wait already."""
        sequence = Sequence(envelope.request_id, request.priority)
        self._scheduler.add(sequence)
        answer = Answer(sequence, request, envelope.submitted_at)
        answer.steps = self._prompt_steps(answer)
        self._answers[envelope.request_id] = answer

    def cancel(self, request_id: str) -> None:
        if (answer := self._answers.get(request_id)) is not None:
            with self._guard(answer):
                self._finish(answer, FinishReason.CANCELLED)

    def drop(self, request_id: str) -> None:
        """Forget a request without a word; its sink is gone."""
        if (answer := self._answers.get(request_id)) is not None:
            with self._guard(answer):
                self._release(answer)

    def step(self) -> None:
        """One token for every answer under way, and one piece of one prompt."""
        plan = self._scheduler.plan()
        if plan.decode:
            self._decode([self._answers[sequence.request_id] for sequence in plan.decode])
        for sequence in plan.held_up:
            self._advance(self._answers[sequence.request_id])
        if plan.prompt:
            self._advance(self._answers[plan.prompt.request_id])

    def _advance(self, answer: Answer) -> None:
        with self._guard(answer):
            progress = next(answer.steps)
            if progress is not None:
                self._emit(progress)

    def _prompt_steps(self, answer: Answer) -> Iterator[Progress | None]:
        """Moves the sequence from phase to phase; behind the last piece it decodes, and nobody asks for more."""
        name = answer.sequence.request_id
        opened = 0
        for prompt in self._session.builder.build(answer.request):
            if prompt is None:
                opened += 1
                yield Progress(name, Stage.LOOKING, opened, 0)
            answer.prompt = prompt
        answer.max_tokens = self._session.max_tokens(answer.request, len(answer.prompt.token_ids))
        answer.text = self._session.text_stream(answer.request, answer.prompt)
        constraint = yield from self._wait_for_form(answer)
        yield from self._wait_for_room(answer)
        answer.prefill_started_at = time.monotonic()
        sampler = self._session.sampler(answer.request, answer.prompt, constraint)
        answer.cached = self._runner.open(name, answer.prompt, sampler, answer.request.tenant)
        for stage, done, total in self._runner.prefill(name):
            if stage is Stage.PREFILL and done == total:
                answer.sequence.phase = Phase.DECODE
            yield Progress(name, stage, done, total)

    def _wait_for_form(self, answer: Answer) -> Generator[None, None, Constraint | None]:
        constraint = None
        for constraint in self._session.constraint(answer.request, answer.prompt):
            if constraint is None:
                answer.sequence.phase = Phase.FORM
                yield None
        yield from self._go_on(answer)
        return constraint

    def _wait_for_room(self, answer: Answer) -> Iterator[None]:
        """Until there is memory for the answer's caches. Raises `MemoryRefused` if there would not be even if nobody
        else were answered."""
        room, tokens = self._session.room, len(answer.prompt.token_ids)
        need = room.need(tokens, answer.max_tokens)
        while True:
            others = [other for other in self._answers.values() if other.need]
            if self._scheduler.is_next_for_room(answer.sequence):
                if room.fits(need, [(other.need, room.bytes(other.tokens)) for other in others]):
                    break
                if not others or room.never_fits(need, [other.need for other in others]):
                    raise room.refusal(need, tokens)
            answer.sequence.phase = Phase.ROOM
            yield None
        answer.need = need
        yield from self._go_on(answer)

    def _go_on(self, answer: Answer) -> Iterator[None]:
        """After a wait, a prompt goes on when it is its turn, not in the step that found out."""
        if answer.sequence.phase is not Phase.PROMPT:
            answer.sequence.phase = Phase.PROMPT
            yield None

    def _decode(self, answers: list[Answer]) -> None:
        try:
            outcomes = self._runner.decode([answer.sequence.request_id for answer in answers])
        except Exception as error:  # noqa: BLE001 - a step that fails ends those in it, never the engine
            for answer in answers:
                self._break(answer, error)
            return
        for answer in answers:
            outcome = outcomes[answer.sequence.request_id]
            with self._guard(answer):
                if isinstance(outcome, Exception):
                    raise outcome
                self._take(answer, outcome)

    def _take(self, answer: Answer, token: TokenLogprob) -> None:
        answer.token_ids.append(token.token_id)
        if answer.generated == 1:
            answer.first_token_at = time.monotonic()
        answer.unsent.append(token)
        if token.token_id in self._end_ids:
            self._finish(answer, FinishReason.STOP)
            return
        self._send(answer, answer.text.push(token.token_id))
        if answer.text.stopped:
            self._finish(answer, FinishReason.STOP)
        elif answer.generated >= answer.max_tokens:
            self._finish(answer, FinishReason.LENGTH)

    def _send(self, answer: Answer, pieces: list[Piece | Call]) -> None:
        name = answer.sequence.request_id
        for piece in pieces:
            if isinstance(piece, Call):
                self._emit(ToolCallDelta(name, piece.index, piece.name, piece.arguments, piece.id))
                continue
            tokens, answer.unsent = tuple(answer.unsent), []
            delta = ThinkingDelta if piece.thinking else TextDelta
            self._emit(delta(name, piece.text, tokens))

    def _finish(self, answer: Answer, reason: FinishReason) -> None:
        if answer.text is not None:
            self._send(answer, answer.text.finish(complete=reason is FinishReason.STOP))
            if reason is FinishReason.STOP and answer.text.called:
                reason = FinishReason.TOOL_CALLS
        if answer.unsent:
            self._emit(TextDelta(answer.sequence.request_id, "", tuple(answer.unsent)))
        finished = Finished(
            answer.sequence.request_id,
            reason,
            self._usage(answer),
            self._timings(answer),
            regions=self._session.regions(answer.prompt, answer.token_ids) if answer.prompt else (),
            notes=answer.notes,
        )
        self._release(answer)
        self._emit(finished)

    def _break(self, answer: Answer, error: Exception) -> None:
        self._fail(answer.sequence.request_id, error)
        if answer.sequence.request_id in self._answers:
            self._release(answer, failed=True)

    def _release(self, answer: Answer, *, failed: bool = False) -> None:
        del self._answers[answer.sequence.request_id]
        self._scheduler.remove(answer.sequence)
        if answer.steps is not None:
            answer.steps.close()
        self._runner.close(answer.sequence.request_id, None if failed else answer.token_ids)

    def _guard(self, answer: Answer) -> "_Guard":
        return _Guard(answer, self._break)

    def _usage(self, answer: Answer) -> Usage:
        prompt = answer.prompt
        return Usage(
            prompt_tokens=0 if prompt is None else len(prompt.token_ids),
            completion_tokens=answer.generated,
            cached_tokens=answer.cached,
            image_tokens=0 if prompt is None else len(prompt.slots),
            thinking_tokens=0 if answer.text is None else answer.text.thinking_tokens,
            context_length=self._session.info.context_length,
        )

    def _timings(self, answer: Answer) -> Timings:
        first, now = answer.first_token_at, time.monotonic()
        prompt_tokens = 0 if answer.prompt is None else len(answer.prompt.token_ids)
        return Timings(
            load_s=self._session.load_s,
            ttft_s=first - answer.submitted_at if first else 0.0,
            prompt_tps=_rate(prompt_tokens - answer.cached, first - answer.prefill_started_at) if first else 0.0,
            generation_tps=_rate(answer.generated - 1, now - first) if first else 0.0,
            peak_memory_bytes=mx.get_peak_memory(),
        )


class _Guard:
    """Whatever goes wrong for one request ends that one only."""

    def __init__(self, answer: Answer, on_error: Callable[[Answer, Exception], None]) -> None:
        self._answer = answer
        self._on_error = on_error

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> bool:
        if not isinstance(error, Exception):
            return False
        self._on_error(self._answer, error)
        return True


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if tokens > 0 and seconds > 0 else 0.0

"""All answers under way with one loaded model: asks the scheduler who runs, the runner to run, and says what came.

Owns the link between a sequence, its tensors and its text. Knows nothing of inboxes, sinks or loading.
"""

import time
from collections.abc import Callable, Generator, Iterator

from engine.answers import Answer, Choice, open_answer
from engine.api.events import (
    ChoiceEnd,
    Event,
    Finished,
    FinishReason,
    Progress,
    Stage,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
)
from engine.api.request import GenerateRequest
from engine.api.settings import EngineSettings
from engine.constrain.constraint import Constraint
from engine.grants import Grants, go_on
from engine.inbox import Envelope
from engine.models.media.wanted import Wanted
from engine.run.exhaustion import is_out_of_memory
from engine.run.runner import Runner
from engine.run.text import Piece
from engine.run.tools import Call
from engine.schedule.scheduler import Scheduler
from engine.schedule.sequence import Phase, Sequence
from engine.session import Session

Emit = Callable[[Event], None]
Fail = Callable[[str, Exception], None]


class Generation:
    def __init__(self, session: Session, settings: EngineSettings, emit: Emit, fail: Fail) -> None:
        self._session = session
        self._emit = emit
        self._fail = fail
        self._scheduler = Scheduler(settings.max_running, settings.max_waiting)
        self._runner = Runner(session.checkpoint.model, settings.cache, session.prefixes, session.features)
        self._answers: dict[str, Answer] = {}
        self._grants = Grants(session.room, self._scheduler, self._runner, self._answers)
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
        sequence = Sequence(envelope.request_id, request.priority, rows=request.n)
        self._scheduler.add(sequence)
        answer = open_answer(sequence, request, envelope.submitted_at)
        answer.steps = self._prompt_steps(answer)
        self._answers[envelope.request_id] = answer

    def cancel(self, request_id: str) -> None:
        if (answer := self._answers.get(request_id)) is not None:
            with self._guard(answer):
                for choice in answer.open_choices:
                    self._end(answer, choice, FinishReason.CANCELLED)

    def drop(self, request_id: str) -> None:
        """Forget a request without a word; its sink is gone."""
        if (answer := self._answers.get(request_id)) is not None:
            with self._guard(answer):
                self._release(answer)

    def step(self) -> None:
        """One token or more for every answer under way, and one piece of one prompt."""
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
        for piece in self._session.builder.build(answer.request):
            if isinstance(piece, Wanted):
                yield from self._grants.wait_to_open(answer, piece)
            elif piece is None:
                opened += 1
                yield Progress(name, Stage.LOOKING, opened, 0)
            else:
                answer.prompt = piece
        answer.need = None
        answer.max_tokens = self._session.max_tokens(answer.request, len(answer.prompt.token_ids))
        for choice in answer.choices:
            choice.text = self._session.text_stream(answer.request, answer.prompt)
            choice.speculation = self._session.speculation(answer.request, answer.prompt, answer.max_tokens)
        constraint = yield from self._wait_for_form(answer)
        yield from self._grants.wait_to_read(answer)
        answer.prefill_started_at = time.monotonic()
        samplers = self._session.samplers(answer.request, answer.prompt, constraint)
        first, *others = zip(answer.choices, samplers, strict=True)
        answer.cached = self._runner.open(name, answer.prompt, first[1], answer.request.tenant, first[0].speculation)
        for stage, done, total in self._runner.prefill(name):
            if stage is Stage.PREFILL and done == total:
                for choice, sampler in others:
                    self._runner.fork(name, choice.row, sampler, choice.speculation)
                answer.sequence.phase = Phase.DECODE
                answer.prompt = answer.prompt.without_pixels()
                self._grants.is_read(answer)
            yield Progress(name, stage, done, total)

    def _wait_for_form(self, answer: Answer) -> Generator[None, None, Constraint | None]:
        constraint = None
        for constraint in self._session.constraint(answer.request, answer.prompt):
            if constraint is None:
                answer.sequence.phase = Phase.FORM
                yield None
        yield from go_on(answer)
        return constraint

    def _decode(self, answers: list[Answer]) -> None:
        for answer in answers:
            with self._guard(answer):
                self._grants.grow(answer)
        answers = [answer for answer in answers if answer.request_id in self._answers]
        rows = {choice.row: (answer, choice) for answer in answers for choice in answer.open_choices}
        try:
            outcomes = self._runner.decode(list(rows))
        except Exception as error:  # noqa: BLE001 - a step that fails ends those in it, never the engine
            self._runner.abandon()
            error = self._told(error)
            for answer in answers:
                self._break(answer, error)
            return
        for row, (answer, choice) in rows.items():
            outcome = outcomes[row]
            # Unless another of its choices has failed.
            if answer.request_id in self._answers:
                with self._guard(answer):
                    if isinstance(outcome, Exception):
                        raise outcome
                    self._take(answer, choice, outcome)

    def _take(self, answer: Answer, choice: Choice, tokens: list[TokenLogprob]) -> None:
        answer.first_token_at = answer.first_token_at or time.monotonic()
        is_complete = self._runner.is_complete(choice.row)
        for number, token in enumerate(tokens, 1):
            if choice.end is None:
                self._take_one(answer, choice, token, is_last=is_complete and number == len(tokens))

    def _take_one(self, answer: Answer, choice: Choice, token: TokenLogprob, *, is_last: bool) -> None:
        """`is_last`: the answer has the form it is held to, and no room for more."""
        choice.token_ids.append(token.token_id)
        choice.unsent.append(self._session.form.told(token, answer.request))
        if token.token_id in self._end_ids:
            self._end(answer, choice, FinishReason.STOP)
            return
        self._send(answer, choice, choice.text.push(token.token_id))
        if choice.text.stopped or is_last:
            self._end(answer, choice, FinishReason.STOP)
        elif len(choice.token_ids) >= answer.max_tokens:
            self._end(answer, choice, FinishReason.LENGTH)

    def _send(self, answer: Answer, choice: Choice, pieces: list[Piece | Call]) -> None:
        name = answer.request_id
        for piece in pieces:
            if isinstance(piece, Call):
                self._emit(
                    ToolCallDelta(name, piece.index, piece.name, piece.arguments, piece.id, choice=choice.number)
                )
                continue
            tokens, choice.unsent = tuple(choice.unsent), []
            delta = ThinkingDelta if piece.thinking else TextDelta
            self._emit(delta(name, piece.text, tokens, choice.number))

    def _end(self, answer: Answer, choice: Choice, reason: FinishReason) -> None:
        """Of one choice; the last one's is the request's."""
        if choice.text is not None:
            self._send(answer, choice, choice.text.finish(complete=reason is FinishReason.STOP))
            if reason is FinishReason.STOP and choice.text.called:
                reason = FinishReason.TOOL_CALLS
        if choice.unsent:
            self._emit(TextDelta(answer.request_id, "", tuple(choice.unsent), choice.number))
        choice.end = reason
        # Nobody goes on from more than one of them, and the prompt is the same.
        self._runner.close(choice.row, None if choice.number else choice.token_ids)
        if not answer.open_choices:
            self._finish(answer)

    def _finish(self, answer: Answer) -> None:
        context_length = self._session.info.context_length
        prompt = answer.prompt_usage(context_length)
        ends = [
            ChoiceEnd(
                choice.end,
                choice.usage(prompt),
                self._session.regions(answer.prompt, choice.token_ids) if answer.prompt else (),
                stop=choice.text.stop_met if choice.text else "",
                end_token=not self._end_ids.isdisjoint(choice.token_ids[-1:]),
            )
            for choice in answer.choices
        ]
        finished = Finished(
            answer.request_id,
            answer.reason,
            answer.usage(context_length),
            answer.timings(self._session.load_s),
            regions=ends[0].regions,
            notes=answer.notes,
            choices=tuple(ends),
        )
        self._release(answer)
        self._emit(finished)

    def _break(self, answer: Answer, error: Exception) -> None:
        may_begin_again = is_out_of_memory(error) and self._session.room.has_leftovers and not answer.begun_again
        error = self._told(error)
        if may_begin_again and answer.sequence.phase is Phase.PROMPT:
            self._begin_again(answer)
            return
        self._fail(answer.request_id, error)
        if answer.request_id in self._answers:
            self._release(answer, failed=True)

    def _told(self, error: Exception) -> Exception:
        """In words and numbers, where it is memory that ran out; what was left over is gone then."""
        return self._session.room.ran_out(error) if is_out_of_memory(error) else error

    def _begin_again(self, answer: Answer) -> None:
        """With a prompt for which memory ran out while something was left over."""
        for choice in answer.choices:
            self._runner.close(choice.row, None)
        answer.begun_again, answer.need, answer.prompt, answer.cached = True, None, None, 0
        answer.steps = self._prompt_steps(answer)

    def _release(self, answer: Answer, *, failed: bool = False) -> None:
        del self._answers[answer.request_id]
        self._scheduler.remove(answer.sequence)
        if answer.steps is not None:
            answer.steps.close()
        for choice in answer.open_choices:
            self._runner.close(choice.row, None if failed or choice.number else choice.token_ids)

    def _guard(self, answer: Answer) -> "_Guard":
        return _Guard(answer, self._break)


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

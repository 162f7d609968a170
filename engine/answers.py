"""What is known of a request on its way to one answer or several: prompt, tokens, text and numbers so far.

Knows nothing of who runs next, nor of tensors; the runner keeps those under the names of the rows.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import mlx.core as mx

from engine.api.events import FinishReason, Progress, Timings, TokenLogprob, Usage
from engine.api.request import GenerateRequest
from engine.run.prompt import Prompt
from engine.run.room import Need
from engine.run.text import TextStream
from engine.schedule.sequence import Sequence
from engine.speculate.speculation import Speculation


@dataclass(slots=True)
class Choice:
    """One of the answers to a request."""

    number: int
    row: str
    """What the runner knows it by."""
    text: TextStream | None = None
    """Once the prompt is known."""
    speculation: Speculation | None = None
    token_ids: list[int] = field(default_factory=list)
    unsent: list[TokenLogprob] = field(default_factory=list)
    end: FinishReason | None = None

    def usage(self, prompt: Usage) -> Usage:
        """`prompt` are the numbers of what all choices share."""
        return replace(
            prompt,
            completion_tokens=len(self.token_ids),
            thinking_tokens=0 if self.text is None else self.text.thinking_tokens,
            drafted_tokens=0 if self.speculation is None else self.speculation.drafted,
            accepted_tokens=0 if self.speculation is None else self.speculation.accepted,
        )


@dataclass(slots=True)
class Answer:
    """One request's way from prompt to text."""

    sequence: Sequence
    request: GenerateRequest
    submitted_at: float
    choices: list[Choice]
    steps: Iterator[Progress | None] | None = None
    """The prompt's remaining pieces of work; `None` is one without news."""
    prompt: Prompt | None = None
    max_tokens: int = 0
    """Of each choice."""
    cached: int = 0
    """Tokens of the prompt that were found computed."""
    need: Need | None = None
    """Memory that it has been given."""
    begun_again: bool = False
    """Whether memory ran out before, and what earlier prompts left behind has made way since."""
    prefill_started_at: float = 0.0
    first_token_at: float = 0.0

    @property
    def request_id(self) -> str:
        return self.sequence.request_id

    @property
    def open_choices(self) -> list[Choice]:
        return [choice for choice in self.choices if choice.end is None]

    @property
    def generated(self) -> int:
        return sum(len(choice.token_ids) for choice in self.choices)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person ought to know of it."""
        of_texts = [note for choice in self.choices if choice.text for note in choice.text.notes]
        return tuple(dict.fromkeys([*(self.prompt.notes if self.prompt else ()), *of_texts]))

    @property
    def longest(self) -> int:
        """Tokens of its longest choice."""
        return max(len(choice.token_ids) for choice in self.choices)

    @property
    def reason(self) -> FinishReason:
        """Of the whole."""
        reasons = [choice.end for choice in self.choices]
        return FinishReason.CANCELLED if FinishReason.CANCELLED in reasons else reasons[0]

    def prompt_usage(self, context_length: int) -> Usage:
        prompt = self.prompt
        return Usage(
            prompt_tokens=0 if prompt is None else len(prompt.token_ids),
            cached_tokens=self.cached,
            image_tokens=0 if prompt is None else len(prompt.slots),
            context_length=context_length,
        )

    def usage(self, context_length: int) -> Usage:
        """Of all choices together, which share one prompt."""
        prompt = self.prompt_usage(context_length)
        each = [choice.usage(prompt) for choice in self.choices]
        return replace(
            prompt,
            completion_tokens=sum(usage.completion_tokens for usage in each),
            thinking_tokens=sum(usage.thinking_tokens for usage in each),
            drafted_tokens=sum(usage.drafted_tokens for usage in each),
            accepted_tokens=sum(usage.accepted_tokens for usage in each),
        )

    def timings(self, load_s: float) -> Timings:
        first, now = self.first_token_at, time.monotonic()
        prompt_tokens = 0 if self.prompt is None else len(self.prompt.token_ids)
        return Timings(
            load_s=load_s,
            ttft_s=first - self.submitted_at if first else 0.0,
            prompt_tps=_rate(prompt_tokens - self.cached, first - self.prefill_started_at) if first else 0.0,
            generation_tps=_rate(self.generated - len(self.choices), now - first) if first else 0.0,
            peak_memory_bytes=mx.get_peak_memory(),
        )


def open_answer(sequence: Sequence, request: GenerateRequest, submitted_at: float) -> Answer:
    name = sequence.request_id
    choices = [Choice(number, f"{name}#{number}" if number else name) for number in range(request.n)]
    return Answer(sequence, request, submitted_at, choices)


def _rate(tokens: int, seconds: float) -> float:
    return tokens / seconds if tokens > 0 and seconds > 0 else 0.0

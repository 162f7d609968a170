"""What the Python API gives back, with the names that mlx-vlm's users read.

Knows nothing of how it came about.
"""

from dataclasses import dataclass, field

from engine.api.events import Timings, TokenLogprob, Usage
from engine.api.tools import ToolCall


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """An answer, or a piece of one. Numbers of tokens and times are complete once `finish_reason` is there."""

    text: str
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: str | None = None
    usage: Usage = field(default_factory=Usage)
    timings: Timings = field(default_factory=Timings)
    thinking: str = ""
    """What the model wrote before its answer, where it thinks."""
    tool_calls: list[ToolCall] = field(default_factory=list)
    """Of those tools that were given to `generate`."""
    top_logprobs: list[tuple[TokenLogprob, ...]] = field(default_factory=list)
    """For each token as many of the likeliest as were asked for, the likeliest first."""

    @property
    def token(self) -> int | None:
        return self.token_ids[-1] if self.token_ids else None

    @property
    def prompt_tokens(self) -> int:
        return self.usage.prompt_tokens

    @property
    def generation_tokens(self) -> int:
        return self.usage.completion_tokens

    @property
    def total_tokens(self) -> int:
        return self.usage.prompt_tokens + self.usage.completion_tokens

    @property
    def cached_tokens(self) -> int:
        return self.usage.cached_tokens

    @property
    def prompt_tps(self) -> float:
        return self.timings.prompt_tps

    @property
    def generation_tps(self) -> float:
        return self.timings.generation_tps

    @property
    def peak_memory(self) -> float:
        """In units of 10^9 bytes."""
        return self.timings.peak_memory_bytes / 1e9


@dataclass(frozen=True, slots=True)
class BatchResponse:
    texts: list[str]
    results: list[GenerationResult]

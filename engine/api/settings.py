"""Every setting there is, as frozen dataclasses.

Read once, at the edge (the command line, the app's composition root); nothing further in looks at the environment.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path

from engine.api.errors import RequestError


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the next token is chosen. `None` leaves the choice to the model's own generation settings."""

    temperature: float | None = None
    """0 is greedy."""
    top_p: float | None = None
    """Nucleus: the smallest set of tokens whose probability reaches this, 0 < top_p <= 1."""
    top_k: int | None = None
    """Only the k likeliest tokens; 0 is off."""
    min_p: float | None = None
    """Only tokens at least this fraction as likely as the likeliest, 0..1."""
    repetition_penalty: float | None = None
    """Above 1 makes tokens already in the context less likely (arXiv 1909.05858); 1 is off."""
    repetition_context_size: int | None = None
    """How many of the last tokens the penalty looks at."""
    no_repeat_ngram_size: int | None = None
    """An n-gram of this length never occurs twice in the answer; 0 is off."""
    seed: int | None = None
    """The same seed gives the same text, whatever else runs; `None` draws one."""

    def __post_init__(self) -> None:
        """Raises `RequestError` naming the value that is out of range."""
        _check("temperature", self.temperature, 0, 100)
        _check("top_p", self.top_p, 0, 1)
        _check("top_k", self.top_k, 0)
        _check("min_p", self.min_p, 0, 1)
        _check("repetition_penalty", self.repetition_penalty, 0.01, 100)
        _check("repetition_context_size", self.repetition_context_size, 0)
        _check("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        _check("seed", self.seed, 0, 2**64 - 1)


def _check(name: str, value: float | None, least: float, most: float = math.inf) -> None:
    # Not-a-number is in no range.
    if value is None or least <= value <= most:
        return
    limits = f"at least {least}" if most == math.inf else f"between {least} and {most}"
    raise RequestError(f"{name} is {value}; it has to be {limits}.", "Leave it out for the model's own setting.")


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What the model remembers, and how."""

    prefill_step_size: int = 512
    """Prompt tokens run through the decoder between two looks at the inbox."""
    max_kv_size: int | None = None
    """Tokens kept in a rotating KV cache; `None` keeps all."""


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """What is refused before it is decoded."""

    max_pixels: int = 100_000_000
    max_bytes: int = 200_000_000
    max_images: int = 64
    max_clip_bytes: int = 4_000_000_000
    """Of a clip's file, which is never read as a whole."""
    max_clip_pixels: int = 500_000_000
    """Of all the frames of a clip that are looked at, as large as they are looked at."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Everything an engine needs to know before it starts."""

    hub_cache: Path | None = None
    """The Hugging Face cache; `None` takes the library's own default."""
    hub_token: str | None = field(default=None, repr=False)
    resources: Path | None = None
    """The folder with the starter model; `None` finds the one beside the package or in the bundle."""
    memory_limit: int | None = None
    """Bytes a model and its caches may take; `None` asks the device."""
    max_running: int = 8
    """Sequences that decode at the same time."""
    cache: CacheSettings = field(default_factory=CacheSettings)
    media: MediaLimits = field(default_factory=MediaLimits)

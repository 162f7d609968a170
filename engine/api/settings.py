"""Every setting there is, as frozen dataclasses.

Read once, at the edge (the command line, the app's composition root); nothing further in looks at the environment.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import MappingProxyType

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
    presence_penalty: float | None = None
    """Taken off the logits of tokens already in the context, -2..2; 0 is off."""
    presence_context_size: int | None = None
    frequency_penalty: float | None = None
    """Taken off for each time that a token is in the context, -2..2; 0 is off."""
    frequency_context_size: int | None = None
    logit_bias: tuple[tuple[int, float], ...] | None = None
    """Token ids, each with what is added to its logit; held to -100..100."""
    xtc_probability: float | None = None
    """How often all but the least likely of the likely tokens are left out, 0..1; 0 is off."""
    xtc_threshold: float | None = None
    """From which probability a token counts as likely for that, 0..0.5."""
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
        _check("presence_penalty", self.presence_penalty, -2, 2)
        _check("presence_context_size", self.presence_context_size, 0)
        _check("frequency_penalty", self.frequency_penalty, -2, 2)
        _check("frequency_context_size", self.frequency_context_size, 0)
        _check("xtc_probability", self.xtc_probability, 0, 1)
        _check("xtc_threshold", self.xtc_threshold, 0, 0.5)
        _check_biases(self.logit_bias or ())
        _check("no_repeat_ngram_size", self.no_repeat_ngram_size, 0)
        _check("seed", self.seed, 0, 2**64 - 1)


def _check(name: str, value: float | None, least: float, most: float = math.inf) -> None:
    # Not-a-number is in no range.
    if value is None or least <= value <= most:
        return
    limits = f"at least {least}" if most == math.inf else f"between {least} and {most}"
    raise RequestError(f"{name} is {value}; it has to be {limits}.", "Leave it out for the model's own setting.")


def _check_biases(biases: tuple[tuple[int, float], ...]) -> None:
    tokens = [token for token, _ in biases]
    for token, bias in biases:
        if token < 0:
            raise RequestError(f"logit_bias names token {token}.", "Token ids are 0 or more.")
        if math.isnan(bias):
            raise RequestError(f"logit_bias of token {token} is not a number.", "It has to be between -100 and 100.")
        if tokens.count(token) > 1:
            raise RequestError(f"logit_bias names token {token} twice.", "Keep one of the two.")


def check_resize_shape(shape: tuple[int, int] | None) -> None:
    """Of height and width that pictures are to fit into. Raises `RequestError`."""
    if shape is not None and min(shape) < 1:
        raise RequestError(f"resize_shape is {shape}; both have to be at least 1.", "Leave it out.")


class KVScheme(Enum):
    """How keys and values are kept in few bits."""

    UNIFORM = "uniform"
    """Evenly spaced levels for each group of numbers."""
    TURBOQUANT = "turboquant"
    """One rotation for all, the best levels for what comes out of it (arXiv 2504.19874); 3.5 bits are 3 for a key and
    4 for a value."""


KV_BITS: Mapping[KVScheme, tuple[float, ...]] = MappingProxyType(
    {KVScheme.UNIFORM: (2, 3, 4, 6, 8), KVScheme.TURBOQUANT: (2, 3, 3.5, 4)}
)
KV_GROUP_SIZES = (32, 64, 128)


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """What the model remembers, and how."""

    prefill_step_size: int = 512
    """Prompt tokens run through the decoder between two looks at the inbox."""
    max_kv_size: int | None = None
    """Tokens kept in a rotating KV cache; `None` keeps all."""
    max_kv_bytes: int | None = None
    """That the caches of all answers under way may need; `None` leaves it to the free memory."""
    prefix_bytes: int | None = None
    """Of earlier prompts and answers kept to be found again; `None` is a quarter of the free memory, 0 keeps none."""
    feature_bytes: int = 512 << 20
    """Of what towers have seen, kept to be found again; 0 keeps none."""
    disk_dir: Path | None = None
    """Where earlier prompts and answers are kept beyond the end of the program; `None` keeps none there."""
    disk_bytes: int = 8 << 30
    """Of them, of all models together."""
    feature_disk: bool = False
    """Whether what towers have seen is kept there too, among the same bytes."""
    kv_bits: float | None = None
    """For each number of a key or value, one of `KV_BITS`; `None` keeps them as they are."""
    kv_quant_scheme: KVScheme = KVScheme.UNIFORM
    kv_group_size: int | None = None
    """Numbers that share their levels, one of `KV_GROUP_SIZES`; `None` is 64. Of the uniform scheme alone."""

    def __post_init__(self) -> None:
        """Raises `RequestError` for settings of the KV cache that do not go together."""
        scheme, bits, group = self.kv_quant_scheme, self.kv_bits, self.kv_group_size
        if bits is None and (scheme is not KVScheme.UNIFORM or group is not None):
            given = "kv_group_size" if scheme is KVScheme.UNIFORM else "kv_quant_scheme"
            raise RequestError(f"{given} says nothing without kv_bits.", "Say kv_bits too, or leave both out.")
        if bits is not None and bits not in KV_BITS[scheme]:
            known = {kind.value: ", ".join(f"{bits:g}" for bits in known) for kind, known in KV_BITS.items()}
            hint = " ".join(f"{kind} has {bits}." for kind, bits in known.items())
            raise RequestError(f"The {scheme.value} scheme has no kv_bits of {bits:g}.", hint.capitalize())
        if group is not None and scheme is not KVScheme.UNIFORM:
            raise RequestError(f"The {scheme.value} scheme has no groups.", "Leave kv_group_size out.")
        if group is not None and group not in KV_GROUP_SIZES:
            sizes = ", ".join(map(str, KV_GROUP_SIZES))
            raise RequestError(f"kv_group_size is {group}.", f"It has to be one of {sizes}.")


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
    max_clip_s: float = 14_400.0
    max_clip_frames: int = 1_000_000
    """Of a clip, whether they are looked at or passed over."""


@dataclass(frozen=True, slots=True)
class ConstraintLimits:
    """What is refused of the form that an answer is to be held to (`ResponseFormat`)."""

    max_schema_bytes: int = 200_000
    max_schema_depth: int = 64
    """Of objects and arrays in one another, in the text of the schema."""
    max_enum_values: int = 2_000
    """Of all the enumerations of a schema, or of a choice."""
    max_regex_length: int = 10_000
    """Of each regular expression, those of a schema included."""
    max_grammar_bytes: int = 100_000
    compile_s: float = 5.0
    """How long making it ready may take."""
    max_compiling: int = 2
    """At the same time; others wait, and their time runs."""


@dataclass(frozen=True, slots=True)
class SpeculationSettings:
    """Guesses ahead of the model, checked several at a time: they change how fast an answer comes, and not the answer.

    They are made where one answer is under way alone, and where a model's caches can be taken back. Beside another they
    would have to be right three times in four to gain anything: on a CPU, a step of two answers took 2.7 times as long
    with four guesses each, and 3.7 times behind 1,000 tokens, as every guess that is wrong moves a row of the cache."""

    lookup: bool = True
    """Guess that what was said before is repeated, in answers of a low temperature. A draft model guesses instead where
    one is loaded (`LoadModel.draft_model`)."""
    most: int = 8
    """Tokens that are guessed at a time, 1..64."""

    def __post_init__(self) -> None:
        if not 1 <= self.most <= 64:
            raise RequestError(f"most is {self.most} of speculation; it has to be between 1 and 64.", "Leave it out.")


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
    tower_bytes: int | None = None
    """Bytes a layer of a tower may hold on its way through a picture, of those that see one at its own shape; of a
    larger one it sees some patches at a time. `None` is an eighth of what is free beside the weights, 1 GiB at
    most and a quarter of that on a CPU."""
    max_running: int = 8
    """Sequences that decode at the same time."""
    max_waiting: int = 256
    """Further requests that may wait; one more is refused."""
    cache: CacheSettings = field(default_factory=CacheSettings)
    media: MediaLimits = field(default_factory=MediaLimits)
    constraints: ConstraintLimits = field(default_factory=ConstraintLimits)
    speculation: SpeculationSettings = field(default_factory=SpeculationSettings)

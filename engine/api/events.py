"""What the engine says back: plain data, tagged with the id of the request it answers.

Each request gets `Accepted` first, then any number of the others, then exactly one of `Finished` and `Failed`.
"""

import builtins
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from engine.api.errors import EngineError, Fault
from engine.api.model_facts import Capabilities, ContextMemory, PictureCut


class FinishReason(Enum):
    STOP = "stop"
    """The model ended its answer, or a stop string came."""
    LENGTH = "length"
    """`max_tokens` or the end of the context."""
    TOOL_CALLS = "tool_calls"
    """The model ended its answer and waits for what the tools it called give."""
    CANCELLED = "cancelled"
    DONE = "done"
    """A load, an unload or a download is complete."""


class Stage(Enum):
    """What a request is busy with, for a progress line."""

    DOWNLOADING = "downloading"
    READING = "reading the model"
    LOADING = "loading weights"
    CONVERTING = "writing the model"
    LOOKING = "looking at the media"
    PREFILL = "reading the prompt"


class Modality(Enum):
    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"


@dataclass(frozen=True, slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Prompt tokens that did not have to be computed."""
    image_tokens: int = 0
    """Prompt tokens that stand for pictures."""
    context_length: int = 0
    """How many tokens the model can hold; 0 is unknown."""
    thinking_tokens: int = 0
    """Of `completion_tokens`: those between the markers of the model's thinking."""
    drafted_tokens: int = 0
    """Tokens that were guessed ahead of the model."""
    accepted_tokens: int = 0
    """Of `drafted_tokens`: those that the model said as well."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, tokens a second, and bytes."""

    load_s: float = 0.0
    """How long the loaded model took to load."""
    ttft_s: float = 0.0
    """From submission to the first token."""
    prompt_tps: float = 0.0
    generation_tps: float = 0.0
    peak_memory_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a front shows about a loaded model."""

    source: str
    name: str
    model_type: str
    modalities: frozenset[Modality]
    parameters: int
    """Number of weights, before quantisation."""
    weight_bytes: int
    """What they take in memory."""
    context_length: int
    device: str
    quantization: str = ""
    """Such as "4-bit affine"; empty when there is none."""
    description: str = ""
    """What it is good and bad at, where that is known."""
    note: str = ""
    """Something about the loading that a person ought to know, such as weights widened on this device."""
    adapter: str = ""
    """The folder of the adapter that was put onto the weights; empty where there is none."""
    capabilities: Capabilities = field(default_factory=Capabilities)
    memory: tuple[ContextMemory, ...] = ()
    """After `DescribeModel`: at several lengths, the last of them the longest."""
    picture: PictureCut | None = None
    """After `DescribeModel` with a picture."""


@dataclass(frozen=True, slots=True)
class LocalModel:
    """One model on this machine, as far as its config tells."""

    source: str
    """What to hand to `LoadModel`."""
    path: str
    model_type: str
    bytes: int
    problem: str = ""
    """Why it cannot be loaded; empty when nothing is known to be wrong."""


@dataclass(frozen=True, slots=True)
class Region:
    """A place in a picture that an answer speaks of, in pixels of the picture as it was given, upright."""

    picture: int
    """Its number among the pictures of the conversation, from 0."""
    label: str
    points: tuple[tuple[float, float], ...]
    """x and y of a point; of the upper left and the lower right corner of a box; of the corners of an outline."""


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What one cache did since the model was loaded or the caches were reset, and what it holds."""

    hits: int = 0
    misses: int = 0
    tokens_saved: int = 0
    """Of prompts, that did not have to be computed; 0 for pictures."""
    evictions: int = 0
    """Entries that made room for others."""
    entries: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class CacheReport:
    """What the loaded model remembers."""

    prefixes: CacheCounts
    """Prompts and answers, in memory."""
    features: CacheCounts
    """Pictures and clips as the model sees them."""
    disk: CacheCounts | None = None
    """Prompts and answers, on the disk; `None` where none are kept there."""
    feature_disk: CacheCounts | None = None
    """Pictures and clips, on the disk; `None` where none are kept there."""


@dataclass(frozen=True, slots=True)
class Accepted:
    request_id: str


@dataclass(frozen=True, slots=True)
class Progress:
    request_id: str
    stage: Stage
    done: int
    total: int
    """0 is unknown; bytes for weights and downloads, tokens for a prompt, items for media."""
    note: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    token_id: int
    logprob: float
    alternatives: tuple["TokenLogprob", ...] = ()
    """The likeliest tokens there, the first first; the one chosen need not be one. They have none themselves."""
    bytes: builtins.bytes = b""
    """What the token is written as, where log-probabilities were asked for; often no whole characters."""

    @property
    def text(self) -> str:
        r"""The same as text, with `\xe2` for a byte that is no character's."""
        return self.bytes.decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer. `tokens` are those sampled since the last delta: text is held back while it may still
    become a stop string or half a character, so the two do not line up one to one."""

    request_id: str
    text: str
    tokens: tuple[TokenLogprob, ...] = ()
    choice: int = 0
    """Which of the answers that were asked for, from 0."""


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    request_id: str
    text: str
    tokens: tuple[TokenLogprob, ...] = ()
    choice: int = 0
    """Which of the answers that were asked for, from 0."""


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """One whole call. Its tokens come with the next delta of text, as do those of stop strings and markers."""

    request_id: str
    index: int
    """Its number in this answer, from 0."""
    name: str
    arguments: str
    """A JSON object as text."""
    call_id: str = ""
    """What the result is to be given under."""
    choice: int = 0


@dataclass(frozen=True, slots=True)
class ChoiceEnd:
    """How one of the answers to a request ended."""

    reason: FinishReason
    usage: Usage = Usage()
    regions: tuple[Region, ...] = ()
    stop: str = ""
    """Which of the stop strings ended it, if one did."""
    end_token: bool = False
    """Whether its last token is one that ends answers, and no part of the text."""


@dataclass(frozen=True, slots=True)
class Finished:
    request_id: str
    reason: FinishReason
    """Of several answers that of the first, but cancelled if one of them was."""
    usage: Usage = Usage()
    """Of several answers together; they have one prompt."""
    timings: Timings = Timings()
    model: ModelInfo | None = None
    """After a load: what was loaded."""
    path: str = ""
    """After a download: where it lies."""
    models: tuple[LocalModel, ...] = ()
    """After `ListModels`."""
    regions: tuple[Region, ...] = ()
    """Places in the pictures that the answer speaks of, for models that can tell them."""
    notes: tuple[str, ...] = ()
    """What a person ought to know of an answer, such as that a clip's end could not be read."""
    cache: CacheReport | None = None
    """After `CacheStats` and `ResetCaches`."""
    choices: tuple[ChoiceEnd, ...] = ()
    """Of answers, one or several, in their order."""
    token_ids: tuple[int, ...] = ()
    """After `CountTokens`: the prompt, with a token for each place that a picture takes."""
    embeddings: tuple[tuple[float, ...], ...] = ()
    """After `EmbedRequest`: one of length 1 for each text."""


@dataclass(frozen=True, slots=True)
class Failed:
    request_id: str
    code: str
    message: str
    hint: str
    fault: Fault
    kind: type[EngineError] = EngineError
    """The class to catch it by."""

    @classmethod
    def from_error(cls, request_id: str, error: EngineError) -> "Failed":
        return cls(request_id, error.code, error.message, error.hint, error.fault, type(error))

    def to_error(self) -> EngineError:
        return self.kind(self.message, self.hint, code=self.code, fault=self.fault)


@dataclass(frozen=True, slots=True)
class Status:
    """How the engine is, sent to whoever watches it, and to whoever loads or unloads a model just before that ends."""

    request_id: str
    model: ModelInfo | None
    memory_bytes: int
    """In use by MLX now."""
    running: int
    waiting: int
    loading: str = ""
    """The source that is being loaded; empty when none is."""


Event = Accepted | Progress | TextDelta | ThinkingDelta | ToolCallDelta | Finished | Failed | Status
TerminalEvent = Finished | Failed
Sink = Callable[[tuple[Event, ...]], None]
"""Called on the engine's thread with the events of one step; must return at once and must not raise."""

"""What a front asks for: frozen, plain data, the same for the window, the command line and HTTP.

Knows nothing of how it is answered. Ids are given by `EngineClient.submit`.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from engine.api.errors import RequestError
from engine.api.quantization import Quantization
from engine.api.response_format import ResponseFormat
from engine.api.settings import SamplingSettings
from engine.api.tools import Tool, ToolCall, ToolChoice, ToolResult

MOST_LOGPROBS = 20
MOST_CHOICES = 16


class Role(Enum):
    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: a file, the bytes of one, or a `data:` URI. Never fetched from a network."""

    source: Path | bytes | str = field(repr=False)
    name: str = ""
    """What to call it in a message to a person."""


@dataclass(frozen=True, slots=True)
class Audio:
    source: Path | bytes | str = field(repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Video:
    """A clip: MP4, QuickTime, Matroska, WebM, AVI, MPEG or an animated GIF. `None` leaves a choice to the model."""

    source: Path | bytes | str = field(repr=False)
    name: str = ""
    fps: float | None = None
    """Frames looked at for each second of the clip."""
    max_frames: int | None = None
    as_pictures: int | None = None
    """Show the model this many single frames instead, at even distances: for models that take pictures only."""

    def __post_init__(self) -> None:
        for name, value, least in (("fps", self.fps, 0.001), ("max_frames", self.max_frames, 1)):
            if value is not None and not least <= value <= 100_000:
                raise RequestError(f"{name} is {value}; it has to be at least {least}.", "Leave it out.")
        if self.as_pictures is not None and self.as_pictures < 1:
            raise RequestError(f"as_pictures is {self.as_pictures}; it has to be at least 1.", "Leave it out.")


MediaPart = Image | Audio | Video
Part = Text | MediaPart | ToolCall | ToolResult


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: text and media in the order in which they were given.

    Calls of tools stand in an assistant's message, their results in one of the role tool.
    """

    role: Role
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        for kind, role in ((ToolCall, Role.ASSISTANT), (ToolResult, Role.TOOL)):
            if self.role is not role and any(isinstance(part, kind) for part in self.parts):
                raise RequestError(
                    f"A message of the role {self.role.value} holds a {kind.__name__}.",
                    f"It belongs into one of the role {role.value}.",
                    code="bad_message",
                )

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """A prompt the caller has already put through a chat template, markers included, and its media in order."""

    text: str
    media: tuple[MediaPart, ...] = ()


class Priority(Enum):
    """Who goes first; within one, whoever came first."""

    CHAT = "chat"
    """Somebody sits and waits."""
    API = "api"
    """A program asks."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One answer to one conversation, or several."""

    prompt: tuple[Message, ...] | RenderedPrompt
    max_tokens: int | None = None
    """`None`: the model's own limit, else what is left of the context."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these; they are never part of it."""
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    logprobs: bool = False
    """Whether deltas carry each token's log-probability."""
    top_logprobs: int = 0
    """How many of the likeliest tokens come with each, with theirs, 0..20."""
    response_format: ResponseFormat | None = None
    """What form the answer is held to, once the model has thought; `None` for any."""
    template_options: tuple[tuple[str, object], ...] = ()
    """Further variables for the chat template, such as `("enable_thinking", True)`."""
    resize_shape: tuple[int, int] | None = None
    """Height and width that pictures and frames are first scaled to fit into, their shape kept."""
    priority: Priority = Priority.CHAT
    tenant: str = ""
    """Whose request it is: what was computed for one is never found by another, not even by its speed."""
    thinking_budget: int | None = None
    """How many tokens the model may think before its answer; then its thinking is ended for it. `None` is no limit."""
    tools: tuple[Tool, ...] = ()
    """What the model may call. With a `RenderedPrompt` they only tell which calls to look for in the answer."""
    tool_choice: ToolChoice | str = ToolChoice.AUTO
    """A text is the name of the tool that has to be called."""
    n: int = 1
    """How many answers, 1..16, drawn side by side from one reading of the prompt; with a seed, the first by that seed
    and each further one by the next."""

    def __post_init__(self) -> None:
        if self.max_tokens is not None and self.max_tokens < 1:
            raise RequestError(
                f"max_tokens is {self.max_tokens}; it has to be at least 1.", "Leave it out for no limit."
            )
        if "" in self.stop:
            raise RequestError("A stop string is empty.", "Leave it out.")
        if not 0 <= self.top_logprobs <= MOST_LOGPROBS:
            raise RequestError(
                f"top_logprobs is {self.top_logprobs}; it has to be between 0 and {MOST_LOGPROBS}.", "Leave it out."
            )
        if self.top_logprobs and not self.logprobs:
            raise RequestError("top_logprobs is asked for without logprobs.", "Ask for both, or leave both out.")
        if self.resize_shape is not None and min(self.resize_shape) < 1:
            raise RequestError(f"resize_shape is {self.resize_shape}; both have to be at least 1.", "Leave it out.")
        if self.thinking_budget is not None and self.thinking_budget < 0:
            raise RequestError(
                f"thinking_budget is {self.thinking_budget}; it has to be at least 0.", "Leave it out for no limit."
            )
        if not 1 <= self.n <= MOST_CHOICES:
            raise RequestError(f"n is {self.n}; it has to be between 1 and {MOST_CHOICES}.", "Leave it out for one.")
        self._check_tools()

    def _check_tools(self) -> None:
        names = [tool.name for tool in self.tools]
        if twice := {name for name in names if names.count(name) > 1}:
            raise RequestError(f"There are several tools called {', '.join(sorted(twice))}.", "Rename them.")
        if isinstance(self.tool_choice, str) and self.tool_choice not in names:
            raise RequestError(f"There is no tool called {self.tool_choice!r}.", "Name one of the tools given.")
        if self.tool_choice is ToolChoice.REQUIRED and not names:
            raise RequestError("A tool has to be called, but none is given.", "Give tools, or leave the choice out.")


@dataclass(frozen=True, slots=True)
class LoadModel:
    """Make this the loaded model. The one before it goes first, once the new one is known to fit."""

    source: str
    """`starter`, a folder, or a Hub repository id already on this machine (see `PullModel`); `tiny` is a random model
    that answers noise, for self-tests."""
    revision: str | None = None
    download: bool = False
    """Whether a repository that is not on this machine yet may be downloaded."""
    draft_model: str | None = None
    """A smaller model with the same tokenizer, named as `source` is, that guesses what this one will say."""


@dataclass(frozen=True, slots=True)
class UnloadModel:
    """Let go of the loaded model and its memory."""


@dataclass(frozen=True, slots=True)
class PullModel:
    """Download a repository into the Hub cache; interrupted, it goes on where it stopped."""

    repo_id: str
    revision: str | None = None


@dataclass(frozen=True, slots=True)
class ListModels:
    """Which models are on this machine; answered with `Finished.models`."""


@dataclass(frozen=True, slots=True)
class DescribeModel:
    """What a model on this machine is, without loading it; answered with `Finished.model`."""

    source: str
    image: Image | None = None
    """Say how this picture would be cut up, too."""


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What the loaded model's caches hold and have saved; answered with `Finished.cache`."""


@dataclass(frozen=True, slots=True)
class ResetCaches:
    """Forget what the loaded model has read and answered, on the disk too; answered as `CacheStats` is."""


@dataclass(frozen=True, slots=True)
class RemoveModel:
    """Delete a downloaded repository from the Hub cache. The starter and folders are never deleted."""

    repo_id: str


class FloatType(Enum):
    """What weights that are not packed are stored as."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True)
class ConvertModel:
    """Write a model anew in the form of mlx-community, packed or unpacked; answered with `Finished.path`,
    `Finished.model` and, in `Finished.notes`, what could not be done as asked."""

    source: str
    """As for `LoadModel`."""
    target: Path
    """A folder that does not exist yet, or an empty one."""
    quantization: Quantization | None = None
    """How the text decoder is packed; towers and projectors stay as they are. `None` packs nothing."""
    dequantize: bool = False
    """Unpack a model that is packed."""
    float_type: FloatType | None = None
    """`None` leaves it to the model's own config."""
    revision: str | None = None
    download: bool = False
    """Whether a repository that is not on this machine yet may be downloaded."""

    def __post_init__(self) -> None:
        if self.quantization is not None and self.dequantize:
            raise RequestError("A model cannot be quantised and dequantised at once.", "Ask for one of the two.")


@dataclass(frozen=True, slots=True)
class TrainRequest:
    """Fine-tune the loaded model on a folder of examples. The trainer is not built yet: answered with `Failed`."""

    dataset: Path
    output: Path


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a request; it still ends in exactly one terminal event of its own."""

    request_id: str


Request = (
    GenerateRequest
    | LoadModel
    | UnloadModel
    | PullModel
    | ListModels
    | DescribeModel
    | CacheStats
    | ResetCaches
    | RemoveModel
    | ConvertModel
    | TrainRequest
)

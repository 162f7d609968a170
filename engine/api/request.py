"""What a front asks for: frozen, plain data, the same for the window, the command line and HTTP.

Knows nothing of how it is answered. Ids are given by `EngineClient.submit`.
"""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from engine.api.conversion import ConvertModel
from engine.api.errors import RequestError
from engine.api.response_format import ResponseFormat
from engine.api.settings import SamplingSettings, check_resize_shape
from engine.api.tools import Tool, ToolCall, ToolChoice, ToolResult, check_choice

MOST_LOGPROBS = 20
MOST_CHOICES = 16
MOST_TEXTS = 2048


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
    model: str = ""
    """The `LoadModel.source` it is meant for: with another loaded when its turn comes, it fails with the code
    `model_changed`. Empty is whichever is loaded."""

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
        check_resize_shape(self.resize_shape)
        if self.thinking_budget is not None and self.thinking_budget < 0:
            raise RequestError(
                f"thinking_budget is {self.thinking_budget}; it has to be at least 0.", "Leave it out for no limit."
            )
        if not 1 <= self.n <= MOST_CHOICES:
            raise RequestError(f"n is {self.n}; it has to be between 1 and {MOST_CHOICES}.", "Leave it out for one.")
        check_choice(self.tools, self.tool_choice)


@dataclass(frozen=True, slots=True)
class CountTokens:
    """What a prompt comes to, its media expanded, without an answer; answered with `Finished.token_ids` and, in
    `Finished.usage`, how many they are."""

    prompt: tuple[Message, ...] | RenderedPrompt
    tools: tuple[Tool, ...] = ()
    template_options: tuple[tuple[str, object], ...] = ()
    resize_shape: tuple[int, int] | None = None
    """All three as in `GenerateRequest`."""
    model: str = ""
    tenant: str = ""

    def __post_init__(self) -> None:
        check_resize_shape(self.resize_shape)
        check_choice(self.tools, ToolChoice.AUTO)


@dataclass(frozen=True, slots=True)
class EmbedRequest:
    """What texts mean, as vectors of length 1; answered with `Finished.embeddings`, one for each text."""

    texts: tuple[str, ...]
    model: str = ""
    tenant: str = ""

    def __post_init__(self) -> None:
        if not 1 <= len(self.texts) <= MOST_TEXTS:
            raise RequestError(f"There are {len(self.texts)} texts; 1 to {MOST_TEXTS} can be embedded at once.")
        if "" in self.texts:
            raise RequestError("A text to be embedded is empty.", "Leave it out.")


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
    adapter: Path | None = None
    """A folder with a LoRA adapter for the model, of mlx-lm's, mlx-vlm's or PEFT's."""


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
class WatchStatus:
    """How the engine is: a `Status` at once and one at each change, until cancelled."""


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
    | CountTokens
    | EmbedRequest
    | WatchStatus
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

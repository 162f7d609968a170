"""What can happen to a conversation, as its listeners hear of it.

Knows nothing of who listens.
"""

from dataclasses import dataclass

from app.state.attachment import Attachment
from app.state.obstacle import Obstacle
from engine.api.events import Failed, Finished, Progress


@dataclass(frozen=True, slots=True)
class Asked:
    question: str
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class AnswerBegan:
    again: bool
    """Whether it takes the place of the answer before it."""


@dataclass(frozen=True, slots=True)
class AnswerGrew:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingGrew:
    text: str


@dataclass(frozen=True, slots=True)
class AnswerProgressed:
    progress: Progress


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    finished: Finished


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    failed: Failed


@dataclass(frozen=True, slots=True)
class Hindered:
    """Nothing was asked, for a reason that a person can do away with."""

    obstacle: Obstacle


@dataclass(frozen=True, slots=True)
class Unhindered:
    """That reason is gone."""

    obstacle: Obstacle


@dataclass(frozen=True, slots=True)
class Cleared:
    pass


ChatChange = (
    Asked
    | AnswerBegan
    | AnswerGrew
    | ThinkingGrew
    | AnswerProgressed
    | AnswerEnded
    | AnswerFailed
    | Hindered
    | Unhindered
    | Cleared
)

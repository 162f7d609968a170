"""One question with what was attached to it, and what came of it.

Knows nothing of the rest of the conversation.
"""

from dataclasses import dataclass
from enum import Enum

from app.state.attachment import Attachment


class Outcome(Enum):
    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Exchange:
    question: str
    attachments: tuple[Attachment, ...]
    answer: str = ""
    outcome: Outcome = Outcome.RUNNING

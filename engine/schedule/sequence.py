"""The state of one request while it is being answered: which phase it is in and who goes first.

Knows nothing of tensors; the runner keeps those under the same id.
"""

from dataclasses import dataclass
from enum import Enum

from engine.api.request import Priority


class Phase(Enum):
    PROMPT = "prompt"
    """Media and prompt tokens are still going through the model."""
    FORM = "form"
    """It waits until the form that its answer is held to has been made ready, on another thread."""
    ROOM = "room"
    """It waits for memory that others hold."""
    DECODE = "decode"


@dataclass(slots=True)
class Sequence:
    request_id: str
    priority: Priority = Priority.CHAT
    phase: Phase = Phase.PROMPT
    rows: int = 1
    """Answers that it decodes side by side."""

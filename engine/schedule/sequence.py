"""The state of one request while it is being answered: which phase it is in and how far.

Knows nothing of tensors; the runner keeps those under the same id.
"""

from dataclasses import dataclass
from enum import Enum


class Phase(Enum):
    PROMPT = "prompt"
    """Media and prompt tokens are still going through the model."""
    DECODE = "decode"


@dataclass(slots=True)
class Sequence:
    request_id: str
    phase: Phase = Phase.PROMPT

"""Who guesses for the answers of one loaded model: a second model where there is one, else look-up where it pays.

Knows nothing of requests.
"""

from dataclasses import dataclass

from engine.api.settings import SpeculationSettings
from engine.models.base import VisionLanguageModel
from engine.speculate.draft_model import DraftModel
from engine.speculate.drafter import Drafter
from engine.speculate.lookup import PromptLookup

COOL = 0.3
"""The highest temperature at which text is likely to be repeated as it stands."""


@dataclass(frozen=True, slots=True)
class Drafters:
    settings: SpeculationSettings
    draft_model: VisionLanguageModel | None = None
    vocabulary_size: int = 0
    """Of the tokenizer that both models have."""
    step_size: int = 512
    """Tokens that a draft model reads between two looks at the inbox."""

    def drafter(self, temperature: float) -> Drafter | None:
        """For an answer of its own."""
        if self.draft_model is not None:
            return DraftModel(self.draft_model, self.vocabulary_size, self.step_size)
        return PromptLookup() if self.settings.lookup and temperature <= COOL else None

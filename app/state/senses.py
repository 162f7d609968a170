"""What the loaded model can be shown, and what becomes of an attachment under it.

Knows nothing of files or widgets. Where no model is ready it is not known: `None` stands for that everywhere.
"""

from dataclasses import dataclass
from enum import Enum

from app.state.media_kinds import MediaKind
from app.state.models import ModelsState, Task
from engine.api.events import Modality

FRAME_CHOICES = (4, 8, 16)
"""How many frames of a clip may stand for it."""
USUAL_FRAMES = 8


class Treatment(Enum):
    WHOLE = "whole"
    """As it is."""
    AS_PICTURES = "as pictures"
    """A clip, to a model that takes pictures only: some of its frames."""
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Senses:
    pictures: bool
    clips: bool
    most_pictures: int | None = None
    """In one conversation."""

    @property
    def frame_choices(self) -> tuple[int, ...]:
        most = self.most_pictures
        return tuple(count for count in FRAME_CHOICES if most is None or count <= most) or (most or 1,)

    def frames_for(self, wanted: int) -> int:
        """The choice that is nearest to this from below."""
        return max((count for count in self.frame_choices if count <= wanted), default=self.frame_choices[0])


def senses_of(models: ModelsState) -> Senses | None:
    """While another model loads, what it will take is not known."""
    info = models.loaded
    if info is None or (models.activity is not None and models.activity.task is Task.LOADING):
        return None
    return Senses(Modality.IMAGE in info.modalities, Modality.VIDEO in info.modalities, info.capabilities.most_pictures)


def treatment(kind: MediaKind, senses: Senses | None) -> Treatment:
    if senses is None:
        return Treatment.WHOLE
    if senses.pictures if kind is MediaKind.PICTURE else senses.clips:
        return Treatment.WHOLE
    return Treatment.AS_PICTURES if kind is MediaKind.CLIP and senses.pictures else Treatment.REFUSED

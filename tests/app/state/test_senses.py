"""What a model can be shown, and what becomes of pictures and clips under it."""

import dataclasses

import pytest

from app.state.media_kinds import MediaKind
from app.state.models import ModelsState
from app.state.senses import Senses, Treatment, senses_of, treatment
from engine.api.events import Modality, Status
from engine.api.model_facts import Capabilities
from tests.app.state.ports import NotingPort
from tests.app.state.test_models import MAC
from tests.fake_engine import INFO

PICTURE, CLIP = MediaKind
SEES, WATCHES, READS = Senses(True, False), Senses(True, True), Senses(False, False)


@pytest.mark.parametrize(
    ("kind", "senses", "expected"),
    [
        (PICTURE, SEES, Treatment.WHOLE),
        (CLIP, SEES, Treatment.AS_PICTURES),
        (CLIP, WATCHES, Treatment.WHOLE),
        (PICTURE, READS, Treatment.REFUSED),
        (CLIP, READS, Treatment.REFUSED),
        (PICTURE, Senses(False, True), Treatment.REFUSED),
        (CLIP, None, Treatment.WHOLE),
    ],
)
def test_treatments(kind, senses, expected):
    assert treatment(kind, senses) is expected


@pytest.mark.parametrize(
    ("most", "choices", "for_eight"),
    [(None, (4, 8, 16), 8), (8, (4, 8), 8), (5, (4,), 4), (1, (1,), 1)],
)
def test_no_more_frames_are_offered_than_the_model_takes_pictures(most, choices, for_eight):
    senses = Senses(True, False, most)
    assert senses.frame_choices == choices
    assert senses.frames_for(8) == for_eight


def test_follows_the_model_and_is_unknown_while_another_loads():
    models = ModelsState(NotingPort(), (), MAC)
    assert senses_of(models) is None
    modalities = frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO})
    info = dataclasses.replace(INFO, modalities=modalities, capabilities=Capabilities(True, most_pictures=3))
    models.take(Status("r0", info, 0, 0, 0))
    assert senses_of(models) == Senses(True, True, 3)
    models.download("lab/other")
    assert senses_of(models) == Senses(True, True, 3)
    models.load("lab/other")
    assert senses_of(models) is None

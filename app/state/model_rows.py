"""The lines of the model picker: what is on this computer, and what may be downloaded.

Knows nothing of lists or widgets; it words what `ModelsState` holds.
"""

from dataclasses import dataclass
from enum import Enum

from app.state.models import STARTER, ModelsState, Offer, Task
from app.state.wording import bytes_text, progress_text
from engine.api.events import LocalModel

STARTER_NAME = "Starter model"
STARTER_NOTE = (
    "A 150-million-parameter model to try things with offline. It names simple objects and colours and reads short, "
    "large print; it is weak at counting and positions."
)


class RowKind(Enum):
    HEADING = "heading"
    LOCAL = "local"
    OFFER = "offer"


@dataclass(frozen=True, slots=True)
class ModelRow:
    kind: RowKind
    title: str
    subtitle: str = ""
    badge: str = ""
    source: str = ""
    enabled: bool = True
    current: bool = False


def display_name(source: str, state: ModelsState) -> str:
    if state.is_starter(source):
        return STARTER_NAME
    for entry in state.catalogue:
        if entry.repo_id == source:
            return entry.name
    return source.rstrip("/").rsplit("/", 1)[-1]


def model_rows(state: ModelsState) -> tuple[ModelRow, ...]:
    loaded = state.loaded.source if state.loaded else ""
    rows = [
        ModelRow(RowKind.HEADING, "On this computer"),
        ModelRow(RowKind.LOCAL, STARTER_NAME, STARTER_NOTE, source=STARTER, current=state.is_starter(loaded)),
    ]
    rows += [_local_row(model, state, loaded) for model in state.local if not state.is_starter(model.source)]
    offers = state.offers()
    if offers:
        rows.append(ModelRow(RowKind.HEADING, "Better models to download"))
        rows += [_offer_row(offer, state) for offer in offers]
    return tuple(rows)


def loaded_name(state: ModelsState) -> str:
    """What the picker itself is labelled with."""
    if state.loaded is not None:
        return display_name(state.loaded.source, state)
    if state.activity is not None:
        return display_name(state.activity.source, state)
    return "Choose a model"


def state_text(state: ModelsState) -> str:
    """Such as "Loading… 45%" or "Ready · 540 MB in memory"."""
    activity = state.activity
    if activity is not None:
        words = progress_text(activity.progress) if activity.progress else "Starting…"
        if activity.task is Task.DOWNLOADING or state.loaded is not None:
            return f"{display_name(activity.source, state)}: {words}"
        return words
    if state.loading_elsewhere:
        return f"A program loads {display_name(state.loading_elsewhere, state)}…"
    if state.loaded is None:
        return "No model is loaded"
    return f"Ready · {bytes_text(state.memory_bytes or state.loaded.weight_bytes)} in memory"


def _local_row(model: LocalModel, state: ModelsState, loaded: str) -> ModelRow:
    return ModelRow(
        RowKind.LOCAL,
        display_name(model.source, state),
        model.problem or f"{model.model_type} · {model.source}",
        bytes_text(model.bytes),
        model.source,
        enabled=not model.problem,
        current=model.source == loaded,
    )


def _offer_row(offer: Offer, state: ModelsState) -> ModelRow:
    entry = offer.entry
    need = bytes_text(entry.needed_on(state.machine))
    if offer.recommended:
        note = "Best for this computer"
    elif offer.fits:
        note = f"Needs {need} of memory"
    else:
        note = f"Needs {need} of memory; this computer has {bytes_text(state.machine.memory_bytes)}"
    return ModelRow(
        RowKind.OFFER,
        entry.name,
        f"{entry.good_at}. {note}.",
        f"Get · {bytes_text(entry.download_bytes)}",
        entry.repo_id,
        enabled=offer.fits,
    )

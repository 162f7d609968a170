"""Why a question cannot be sent as it is, and what to do about it: told before anything is sent.

Knows nothing of what only the engine can find out, such as whether a file can be decoded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from app.state.attachment import Attachment
from app.state.media_kinds import MediaKind
from app.state.senses import Senses, Treatment, treatment


@dataclass(frozen=True, slots=True)
class Obstacle:
    message: str
    hint: str


def find_obstacle(new: Sequence[Attachment], earlier: Sequence[Attachment], senses: Senses | None) -> Obstacle | None:
    """With what is `new` in this question, and what goes along from `earlier` ones."""
    return _vanished(new, earlier) or _refused(new, earlier, senses) or _unknown((*new, *earlier), senses)


def _vanished(new: Sequence[Attachment], earlier: Sequence[Attachment]) -> Obstacle | None:
    for item in (*new, *earlier):
        if item.has_vanished:
            other_way = "remove it here" if item in new else "begin a new chat"
            return Obstacle(
                f"“{item.name}” is no longer where it was.", f"Put it back to {item.source}, or {other_way}."
            )
    return None


def _refused(new: Sequence[Attachment], earlier: Sequence[Attachment], senses: Senses | None) -> Obstacle | None:
    for item in (*new, *earlier):
        if treatment(item.kind, senses) is Treatment.REFUSED:
            other_way = "remove what is attached" if item in new else "begin a new chat"
            where = f"It cannot be shown “{item.name}”" + ("" if item in new else " from earlier in this chat")
            return Obstacle(
                f"This model does not take {item.kind.value}s.", f"{where}. Choose another model above, or {other_way}."
            )
    return None


def _unknown(items: Sequence[Attachment], senses: Senses | None) -> Obstacle | None:
    if senses is not None or all(item.kind is MediaKind.PICTURE for item in items):
        return None
    return Obstacle("No model is ready yet.", "Send again once one is: only then is it known how it can take a clip.")

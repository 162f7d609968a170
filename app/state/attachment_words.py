"""What is said of attachments: on their chips, on the button that adds them, and where nobody wrote a question.

Knows nothing of where the words are shown.
"""

from collections.abc import Sequence

from app.state.attachment import Attachment
from app.state.media_kinds import MediaKind
from app.state.senses import Senses, Treatment, treatment
from app.state.wording import bytes_text, duration_text

NOT_TAKEN = "Not with this model"


def caption(item: Attachment, senses: Senses | None) -> str:
    """The small line of a chip, without what is said of frames."""
    match treatment(item.kind, senses):
        case Treatment.REFUSED:
            return NOT_TAKEN
        case Treatment.AS_PICTURES:
            return duration_text(item.duration) or bytes_text(item.size)
        case Treatment.WHOLE:
            return " · ".join(part for part in (duration_text(item.duration), bytes_text(item.size)) if part)


def frames_text(count: int) -> str:
    return "1 frame, as a picture" if count == 1 else f"{count} frames, as pictures"


def spoken_name(item: Attachment, senses: Senses | None) -> str:
    """All that a chip says, for those who do not see it."""
    parts = [f"{item.kind.value.capitalize()} {item.name}", caption(item, senses)]
    if senses is not None and treatment(item.kind, senses) is Treatment.AS_PICTURES:
        parts.append(frames_text(senses.frames_for(item.frames)))
    return ", ".join(part for part in parts if part)


def attach_tip(senses: Senses | None) -> str:
    """What can be attached."""
    if senses is None or (senses.pictures and senses.clips):
        return "Attach pictures or clips"
    if senses.pictures:
        return "Attach pictures or clips; of a clip, this model sees some frames"
    return "Attach clips" if senses.clips else "This model reads text only; another may take pictures or clips"


def question_about(items: Sequence[Attachment]) -> str:
    """Asked where somebody sends attachments without a word."""
    kinds = {item.kind for item in items}
    if kinds == {MediaKind.PICTURE}:
        return "What is in this picture?" if len(items) == 1 else "What is in these pictures?"
    if kinds == {MediaKind.CLIP}:
        return "What happens in this clip?" if len(items) == 1 else "What happens in these clips?"
    return "What can be seen here?"

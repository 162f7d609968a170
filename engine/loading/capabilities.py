"""What a model can do, told from its files: its weights, its chat template, its tokenizer. Never from its name.

Knows nothing of requests.
"""

import re
from typing import TYPE_CHECKING

from engine.api.events import Modality
from engine.api.model_facts import Capabilities
from engine.constrain.thinking_markers import find_thinking
from engine.models.base import Family

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

_TOOLS = re.compile(r"\btools\b")
_THINKING_OPTION = "enable_thinking"
"""The variable that Qwen 3's template began with, and most since have."""


def capabilities(family: Family, tokenizer: "TokenizerWrapper", *, has_senses: bool) -> Capabilities:
    """`has_senses`: whether the checkpoint holds weights of anything but a text decoder."""
    template = _template(family, tokenizer)
    pictures = has_senses and family.processor is not None
    return Capabilities(
        pictures=pictures,
        most_pictures=family.most_pictures if pictures else None,
        video=has_senses and family.clips is not None,
        sound=has_senses and Modality.AUDIO in family.modalities,
        tools=bool(_TOOLS.search(template)),
        thinking=_thinks(template, tokenizer),
    )


def modalities(found: Capabilities) -> frozenset[Modality]:
    taken = {Modality.IMAGE: found.pictures, Modality.VIDEO: found.video, Modality.AUDIO: found.sound}
    return frozenset({Modality.TEXT, *(modality for modality, is_taken in taken.items() if is_taken)})


def _template(family: Family, tokenizer: "TokenizerWrapper") -> str:
    """The checkpoint's own, all of them where it has several; else the family's."""
    own = getattr(tokenizer, "chat_template", None)
    if isinstance(own, dict):
        return "\n".join(own.values())
    return own or family.chat_template or ""


def _thinks(template: str, tokenizer: "TokenizerWrapper") -> bool:
    """Markers in the vocabulary alone say little: whole series share one."""
    markers = find_thinking(tokenizer, template)
    if not template:
        return markers is not None
    return _THINKING_OPTION in template or (markers is not None and markers.start in template)

"""A conversation to the text the model was trained to see, through the checkpoint's own chat template.

Templates come from checkpoints, so they run in transformers' immutable sandbox. Knows nothing of media beyond the
marker that stands for one, and nothing of token ids.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from engine.api.errors import CheckpointError, EngineError, RequestError
from engine.api.request import Image, Message, Text, Video

PROBE = "fovea-probe"

_KINDS = {Image: "image", Video: "video"}

# What a template with a mistake in it raises besides the errors of its own language.
_MISTAKES = (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError)


class ChatTemplate:
    """One checkpoint's template. `tokenizer` is a transformers one, or mlx-lm's wrapper of it."""

    def __init__(
        self,
        tokenizer: Any,
        template: str | None,
        marker: str | None,
        clip_marker: str | None = None,
    ) -> None:
        """`template` replaces the tokenizer's own where that has none; the markers stand for one picture, one clip."""
        self._tokenizer = tokenizer
        self._template = getattr(tokenizer, "chat_template", None) or template
        self._markers = {Image: marker or "", Video: clip_marker or ""}
        self._takes_parts = bool(self._template) and self._probe_parts()

    def render(self, messages: Sequence[Message], options: Mapping[str, object]) -> str:
        """The prompt, ending where the answer begins. Without any template: the bare text, marker by marker."""
        if not self._template:
            return "\n".join(self._flat(message) for message in messages)
        turns = [{"role": m.role.value, "content": self._content(m)} for m in messages]
        return self._apply(turns, options)

    def _apply(self, turns: list[dict[str, object]], options: Mapping[str, object]) -> str:
        import jinja2

        try:
            return self._tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=True, chat_template=self._template, **options
            )
        except jinja2.exceptions.SecurityError as error:
            raise CheckpointError(
                f"The model's chat template tried something that templates may not do: {_clause(error)}.",
                "Do not trust this checkpoint; choose another.",
            ) from error
        except (*_MISTAKES, jinja2.exceptions.TemplateSyntaxError) as error:
            raise CheckpointError(
                f"The model's chat template cannot be rendered: {_clause(error)}.",
                "Get the model again, or choose another version of it.",
            ) from error
        except jinja2.exceptions.TemplateError as error:
            raise RequestError(
                f"The model's chat template refused the conversation: {_clause(error)}.",
                "Some models take no system prompt, or want user and assistant to take turns.",
            ) from error

    def _content(self, message: Message) -> str | list[dict[str, object]]:
        if not self._takes_parts:
            return self._flat(message)
        return [
            {"type": "text", "text": part.text} if isinstance(part, Text) else {"type": _KINDS[type(part)]}
            for part in message.parts
        ]

    def _flat(self, message: Message) -> str:
        return "".join(part.text if isinstance(part, Text) else self._markers[type(part)] for part in message.parts)

    def _probe_parts(self) -> bool:
        """Some templates take a list of parts, others only a string; only trying tells."""
        try:
            text = self._apply([{"role": "user", "content": [{"type": "text", "text": PROBE}]}], {})
        except EngineError:
            return False
        return PROBE in text and "'text'" not in text and '"text"' not in text


def _clause(error: Exception) -> str:
    """What it says, to stand at the end of a sentence."""
    return str(error).rstrip(".")

"""Log-probabilities of tokens in OpenAI's two shapes, and the token that ends an answer, which is no part of it.

Knows nothing of how they come about.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from engine.api.events import ChoiceEnd, Event, Failed, Finished, TextDelta, ThinkingDelta, TokenLogprob
from engine.api.events import ToolCallDelta as Call

LEAST = -9999.0
"""What OpenAI says instead of a token that cannot come at all: JSON knows no infinity."""


def chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any]:
    """Of chats: an object for each token."""
    return {"content": [_told(token) | {"top_logprobs": list(map(_told, token.alternatives))} for token in tokens]}


def completion_logprobs(tokens: Sequence[TokenLogprob], offset: int, *, most: int) -> dict[str, Any]:
    """Of completions: lists side by side. `offset` is where the first token begins in the text; with `most` of 0,
    nothing is told of what else might have stood there."""
    texts = [token.text for token in tokens]
    starts = list(accumulate(map(len, texts), initial=offset))[:-1]
    return {
        "tokens": texts,
        "token_logprobs": [_finite(token.logprob) for token in tokens],
        "top_logprobs": [_by_text(token) for token in tokens] if most else None,
        "text_offset": starts,
    }


class WithoutEnd:
    """The events of an answer, without the token that a model ends it with.

    Whether a token is that one is only known once nothing follows, so what came with the last is held back until then.
    """

    def __init__(self) -> None:
        self._held: dict[int, list[TextDelta | ThinkingDelta | Call]] = {}

    def take(self, event: Event) -> list[Event]:
        match event:
            case TextDelta() | ThinkingDelta() if event.tokens:
                earlier = self._held.get(event.choice, [])
                self._held[event.choice] = [event]
                return list(earlier)
            case TextDelta() | ThinkingDelta() | Call() if event.choice in self._held:
                self._held[event.choice].append(event)
                return []
            case Finished() | Failed():
                if isinstance(event, Finished):
                    for choice, end in enumerate(event.choices):
                        self._end(choice, end)
                held, self._held = self._held, {}
                return [*(delta for deltas in held.values() for delta in deltas), event]
        return [event]

    def _end(self, choice: int, end: ChoiceEnd) -> None:
        if end.end_token and (held := self._held.get(choice)) and not isinstance(held[0], Call):
            held[0] = replace(held[0], tokens=held[0].tokens[:-1])


def _told(token: TokenLogprob) -> dict[str, Any]:
    return {"token": token.text, "bytes": list(token.bytes) or None, "logprob": _finite(token.logprob)}


def _by_text(token: TokenLogprob) -> dict[str, float]:
    """The one that was chosen among them. Of several that read alike, the likeliest."""
    found: dict[str, float] = {}
    for each in (*token.alternatives, token):
        found[each.text] = max(found.get(each.text, LEAST), _finite(each.logprob))
    return found


def _finite(logprob: float) -> float:
    return LEAST if math.isnan(logprob) else max(logprob, LEAST)

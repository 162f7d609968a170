"""An answer put together again from the pieces it was streamed in.

Knows nothing of where the pieces come from or how the whole is shown.
"""

from dataclasses import dataclass, field

from engine.api.events import Event, Finished, TextDelta, ThinkingDelta, TokenLogprob, ToolCallDelta


@dataclass(slots=True)
class Reply:
    text: str = ""
    thinking: str = ""
    tokens: list[TokenLogprob] = field(default_factory=list)
    """Of thinking and answer alike, in the order in which they were sampled."""
    tool_calls: list[ToolCallDelta] = field(default_factory=list)
    end: Finished | None = None

    @property
    def token_ids(self) -> list[int]:
        return [token.token_id for token in self.tokens]

    @property
    def logprobs(self) -> list[float]:
        return [token.logprob for token in self.tokens]

    def add(self, event: Event) -> None:
        """Take in one event; those that are no part of an answer change nothing."""
        match event:
            case TextDelta():
                self.text += event.text
            case ThinkingDelta():
                self.thinking += event.text
            case ToolCallDelta():
                self.tool_calls.append(event)
            case Finished():
                self.end = event
        if isinstance(event, TextDelta | ThinkingDelta):
            self.tokens += event.tokens

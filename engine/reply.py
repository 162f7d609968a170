"""An answer put together again from the pieces it was streamed in.

Knows nothing of where the pieces come from or how the whole is shown.
"""

from dataclasses import dataclass, field

from engine.api.events import Event, Finished, TextDelta, ThinkingDelta, ToolCallDelta


@dataclass(slots=True)
class Reply:
    text: str = ""
    thinking: str = ""
    token_ids: list[int] = field(default_factory=list)
    """Of thinking and answer alike, in the order in which they were sampled."""
    logprobs: list[float] = field(default_factory=list)
    tool_calls: list[ToolCallDelta] = field(default_factory=list)
    end: Finished | None = None

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
            self.token_ids += [token.token_id for token in event.tokens]
            self.logprobs += [token.logprob for token in event.tokens]

"""An answer in the shapes of OpenAI's responses: numbered events, or one response.

Pure: ids and times are given to it, and it sees nothing but the engine's events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.api.events import (
    Event,
    Failed,
    Finished,
    FinishReason,
    TextDelta,
    ThinkingDelta,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from engine.serve.failures import failure_of
from engine.serve.wire.frames import AnswerFacts, Frame, Json
from engine.serve.wire.logprobs import WithoutEnd, chat_logprobs
from engine.serve.wire.responses_body import ResponsesBody
from engine.serve.wire.responses_output import Call, Message, Thought
from engine.serve.wire.tools import call_object

# OpenAI has few codes for a response that failed.
_CODES = {
    "bad_media": "invalid_image",
    "bad_request": "invalid_prompt",
    "busy": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
}


@dataclass(frozen=True, slots=True)
class Manner:
    """How an answer is told, as far as its request says."""

    logprobs: bool = False
    one_call: bool = False
    """Whether only the first call of a tool is told of."""
    summary: bool = False
    """Whether thinking is told as a summary of it: a client that asked for one shows nothing else."""


def manner_of(body: ResponsesBody) -> Manner:
    reasoning = body.reasoning
    return Manner(
        logprobs=body.tells_logprobs,
        one_call=body.parallel_tool_calls is False,
        summary=reasoning is not None and bool(reasoning.summary or reasoning.generate_summary),
    )


class ResponsesWriter:
    def __init__(self, facts: AnswerFacts, repeated: Mapping[str, Any], manner: Manner) -> None:
        """`repeated` is what the response says again of its request."""
        self._facts = facts
        self._repeated = repeated
        self._manner = manner
        self._without_end = WithoutEnd()
        self._number = 0
        self._output: list[dict[str, Any]] = []
        """Items that are complete."""
        self._item: Message | Thought | None = None
        """The one that is being told."""
        self._end: dict[str, Any] = {
            "status": "in_progress",
            "error": None,
            "incomplete_details": None,
            "usage": None,
        }

    def opening(self) -> list[Frame]:
        return [self._frame("response.created", response=self.whole()), self._told_of_response("in_progress")]

    def write(self, event: Event) -> list[Frame]:
        events = self._without_end.take(event) if self._manner.logprobs else [event]
        return [frame for each in events for frame in self._frames(each)]

    def whole(self) -> Json:
        """As far as it is known."""
        return {
            "id": f"resp_{self._facts.number}",
            "object": "response",
            "created_at": self._facts.created,
            "model": self._facts.model,
            **self._repeated,
            **self._end,
            "output": list(self._output),
        }

    def ping(self) -> Frame | None:
        return None

    def _frames(self, event: Event) -> list[Frame]:
        match event:
            case ThinkingDelta() if event.text:
                return self._tell(Thought, event.text)
            case TextDelta():
                return self._say(event)
            case ToolCallDelta() if not (self._manner.one_call and event.index):
                return self._call(event)
            case Finished():
                return self._finish(event)
            case Failed():
                return self._fail(event)
            case _:
                return []

    def _say(self, delta: TextDelta) -> list[Frame]:
        tokens = delta.tokens if self._manner.logprobs else ()
        if not delta.text and not (tokens and isinstance(self._item, Message)):
            return []
        return self._tell(Message, delta.text, tokens)

    def _tell(self, kind: type[Message | Thought], text: str, tokens: Sequence[TokenLogprob] = ()) -> list[Frame]:
        """In the item that is open, if it is of that kind."""
        frames = []
        if not isinstance(self._item, kind):
            frames += self._close("completed")
            self._item = kind(f"{kind.prefix}_{self._facts.number}_{len(self._output)}", summary=self._manner.summary)
            frames += self._numbered(self._item.opening())
        return frames + self._numbered(self._item.delta(text, _logprobs(tokens)))

    def _call(self, event: ToolCallDelta) -> list[Frame]:
        frames = self._close("completed")
        told = call_object(event, self._facts.number)
        call = Call(f"fc_{self._facts.number}_{len(self._output)}", told["id"], event.name, event.arguments)
        frames += self._numbered(call.events())
        self._output.append(call.whole)
        return frames

    def _close(self, status: str) -> list[Frame]:
        if self._item is None:
            return []
        item, self._item = self._item, None
        frames = self._numbered(item.closing(status))
        self._output.append(item.whole(status))
        return frames

    def _finish(self, end: Finished) -> list[Frame]:
        self._end["usage"] = _usage(end.usage)
        match end.reason:
            case FinishReason.LENGTH:
                frames = self._close("incomplete")
                self._end |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
                return [*frames, self._told_of_response("incomplete")]
            case FinishReason.CANCELLED:
                frames = self._close("incomplete")
                self._end["status"] = "cancelled"
                # There is no event for it; this one says that there is less than there could be.
                return [*frames, self._told_of_response("incomplete")]
            case _:
                frames = self._close("completed")
                self._end["status"] = "completed"
                return [*frames, self._told_of_response("completed")]

    def _fail(self, event: Failed) -> list[Frame]:
        frames = self._close("incomplete")
        failure = failure_of(event)
        self._end |= {
            "status": "failed",
            "error": {"code": _CODES.get(failure.code, "server_error"), "message": failure.message},
        }
        error = self._frame("error", code=failure.code, message=failure.message, param=failure.param)
        return [*frames, error, self._told_of_response("failed")]

    def _told_of_response(self, what: str) -> Frame:
        return self._frame(f"response.{what}", response=self.whole())

    def _numbered(self, events: Sequence[tuple[str, dict[str, Any]]]) -> list[Frame]:
        """Of the item that comes next in the output."""
        return [self._frame(kind, output_index=len(self._output), **content) for kind, content in events]

    def _frame(self, kind: str, **content: Any) -> Frame:
        number, self._number = self._number, self._number + 1
        return Frame({"type": kind, "sequence_number": number, **content}, kind)


def _logprobs(tokens: Sequence[TokenLogprob]) -> list[dict[str, Any]]:
    """As in chats, but that a token without bytes has an empty list of them."""
    told = chat_logprobs(tokens)["content"]
    for one in told:
        for each in (one, *one["top_logprobs"]):
            each["bytes"] = each["bytes"] or []
    return told


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.thinking_tokens},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }

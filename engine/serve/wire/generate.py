"""`POST /generate`, from before mlx-vlm spoke OpenAI's protocol: one prompt with its media in, one text out.

Knows nothing of HTTP. What the model thought is not told, as this shape has no place for it.
"""

from typing import Any

from engine.api.events import Event, Failed, Finished, FinishReason, TextDelta, Timings, Usage
from engine.api.request import Audio, GenerateRequest, Image, Message, Priority, Role, Text, Video
from engine.serve.wire.answer_body import AnswerBody, sampling_of, stops_of
from engine.serve.wire.body import Words, not_supported
from engine.serve.wire.chat_body import SideLengths, shape_of
from engine.serve.wire.ending import error_frame, whole_end
from engine.serve.wire.form import FormBody, form_of
from engine.serve.wire.frames import AnswerFacts, Frame, Json
from engine.serve.wire.thinking import ThinkingBody, template_options

_Sources = str | list[str] | None


class GenerateBody(AnswerBody, ThinkingBody, FormBody):
    prompt: Words
    system: Words | None = None
    image: _Sources = None
    audio: _Sources = None
    video: _Sources = None
    resize_shape: SideLengths | None = None


def generate_request(body: GenerateBody, *, tenant: str) -> GenerateRequest:
    """Raises `Refused` or `RequestError` for what is not supported or contradicts itself."""
    if (body.n or 1) > 1:
        raise not_supported("n", "Ask for several answers at the route of chat completions.")
    media = [
        make(source)
        for make, given in ((Image, body.image), (Audio, body.audio), (Video, body.video))
        for source in ([given] if isinstance(given, str) else given or ())
    ]
    system = (Message(Role.SYSTEM, (Text(body.system),)),) if body.system else ()
    return GenerateRequest(
        (*system, Message(Role.USER, (*media, Text(body.prompt)))),
        max_tokens=body.max_tokens,
        stop=stops_of(body),
        sampling=sampling_of(body),
        response_format=form_of(body),
        template_options=template_options(body),
        resize_shape=shape_of(body.resize_shape),
        priority=Priority.API,
        tenant=tenant,
        thinking_budget=body.thinking_budget,
    )


class GenerateWriter:
    def __init__(self, facts: AnswerFacts) -> None:
        self._facts = facts
        self._text: list[str] = []
        self._finished: Finished | None = None

    def opening(self) -> list[Frame]:
        return []

    def write(self, event: Event) -> list[Frame]:
        match event:
            case TextDelta() if event.text:
                self._text.append(event.text)
                return [self._chunk(event.text, None)]
            case Finished(reason=FinishReason.CANCELLED) | Failed():
                return [error_frame(event)]
            case Finished():
                self._finished = event
                return [self._chunk("", _usage(event.usage, event.timings))]
        return []

    def whole(self) -> Json:
        """Raises `EngineError` for an answer that was cancelled."""
        end = whole_end(self._finished)
        return {"text": "".join(self._text), "model": self._facts.model, "usage": _usage(end.usage, end.timings)}

    def ping(self) -> Frame | None:
        return None

    def _chunk(self, text: str, usage: dict[str, Any] | None) -> Frame:
        return Frame({"chunk": text, "model": self._facts.model, "usage": usage})


def _usage(usage: Usage, timings: Timings) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tps": timings.prompt_tps,
        "generation_tps": timings.generation_tps,
        "peak_memory": timings.peak_memory_bytes / 1e9,
    }

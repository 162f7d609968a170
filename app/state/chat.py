"""One conversation: the questions and answers so far, and the answer that is being written.

Knows nothing of widgets, of which model answers, or of how text is drawn; it hands the engine the whole conversation
each time and hears of the answer through `take`.
"""

from dataclasses import dataclass
from enum import Enum

from app.state.attachments import Attachment, AttachmentTray, kept
from app.state.engine_port import EnginePort
from app.state.notice import Notice
from engine.api.events import Event, Failed, Finished, FinishReason, Progress, TextDelta, ThinkingDelta
from engine.api.request import GenerateRequest, Image, Message, Part, Role, Text


class Outcome(Enum):
    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(slots=True)
class Exchange:
    """A question with its pictures, and what came of it."""

    question: str
    attachments: tuple[Attachment, ...]
    answer: str = ""
    outcome: Outcome = Outcome.RUNNING


@dataclass(frozen=True, slots=True)
class Asked:
    question: str
    attachments: tuple[Attachment, ...]


@dataclass(frozen=True, slots=True)
class AnswerBegan:
    again: bool
    """Whether it takes the place of the answer before it."""


@dataclass(frozen=True, slots=True)
class AnswerGrew:
    text: str


@dataclass(frozen=True, slots=True)
class ThinkingGrew:
    text: str


@dataclass(frozen=True, slots=True)
class AnswerProgressed:
    progress: Progress


@dataclass(frozen=True, slots=True)
class AnswerEnded:
    finished: Finished


@dataclass(frozen=True, slots=True)
class AnswerFailed:
    failed: Failed


@dataclass(frozen=True, slots=True)
class Cleared:
    pass


ChatChange = Asked | AnswerBegan | AnswerGrew | ThinkingGrew | AnswerProgressed | AnswerEnded | AnswerFailed | Cleared


class ChatState:
    """Attributes: `changed` sends one `ChatChange` after another; `tray` holds the pictures of the next question."""

    def __init__(self, engine: EnginePort, tray: AttachmentTray) -> None:
        self.changed: Notice[ChatChange] = Notice()
        self.tray = tray
        self._engine = engine
        self._exchanges: list[Exchange] = []
        self._request_id: str | None = None

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return tuple(self._exchanges)

    @property
    def running(self) -> bool:
        return self._request_id is not None

    def send(self, text: str) -> bool:
        """Ask, with the pictures in the tray. Returns whether anything was asked."""
        question = text.strip()
        if self.running or not (question or self.tray.items):
            return False
        attachments = self.tray.take_all()
        question = question or _question_about(len(attachments))
        self._exchanges.append(Exchange(question, tuple(map(kept, attachments))))
        self.changed.send(Asked(question, attachments))
        self._ask(again=False)
        return True

    def regenerate(self) -> bool:
        """Answer the last question once more."""
        if self.running or not self._exchanges:
            return False
        last = self._exchanges[-1]
        last.answer, last.outcome = "", Outcome.RUNNING
        self._ask(again=True)
        return True

    def stop(self) -> None:
        if self._request_id is not None:
            self._engine.cancel(self._request_id)

    def clear(self) -> None:
        """Begin a new conversation. What was still being answered is stopped and no longer listened to."""
        self.stop()
        self._request_id = None
        self._exchanges.clear()
        self.tray.take_all()
        self.changed.send(Cleared())

    def take(self, event: Event) -> None:
        """An event of the engine; those of other requests are not for this conversation."""
        if self._request_id is None or event.request_id != self._request_id:
            return
        exchange = self._exchanges[-1]
        match event:
            case TextDelta():
                exchange.answer += event.text
                self.changed.send(AnswerGrew(event.text))
            case ThinkingDelta():
                self.changed.send(ThinkingGrew(event.text))
            case Progress():
                self.changed.send(AnswerProgressed(event))
            case Finished():
                stopped = event.reason is FinishReason.CANCELLED
                exchange.outcome = Outcome.STOPPED if stopped else Outcome.COMPLETE
                self._request_id = None
                self.changed.send(AnswerEnded(event))
            case Failed():
                exchange.outcome = Outcome.FAILED
                self._request_id = None
                self.changed.send(AnswerFailed(event))
            case _:
                pass

    def _ask(self, *, again: bool) -> None:
        self._request_id = self._engine.submit(GenerateRequest(conversation(self._exchanges)))
        self.changed.send(AnswerBegan(again))


def conversation(exchanges: list[Exchange]) -> tuple[Message, ...]:
    """What the model is to read, ending with the question to be answered.

    A question that failed is left out, so that one bad picture does not spoil every later turn. Questions that were
    stopped before an answer came are joined with the next one: many chat templates want the two sides to alternate.
    """
    messages: list[Message] = []
    waiting: tuple[Part, ...] = ()
    for exchange in exchanges:
        if exchange.outcome is Outcome.FAILED:
            continue
        images = tuple(Image(item.source, item.name) for item in exchange.attachments)
        text = f"\n\n{exchange.question}" if waiting else exchange.question
        waiting = (*waiting, *images, Text(text))
        if exchange.answer:
            messages.append(Message(Role.USER, waiting))
            messages.append(Message(Role.ASSISTANT, (Text(exchange.answer),)))
            waiting = ()
    if waiting:
        messages.append(Message(Role.USER, waiting))
    return tuple(messages)


def _question_about(pictures: int) -> str:
    return "What is in this picture?" if pictures == 1 else "What is in these pictures?"

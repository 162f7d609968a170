"""One conversation: the questions and answers so far, and the answer that is being written.

Knows nothing of widgets, of which model answers, or of how text is drawn; it hands the engine the whole conversation
each time and hears of the answer through `take`.
"""

from app.state.attachment import Attachment, FileFacts
from app.state.attachment_words import question_about
from app.state.attachments import AttachmentTray
from app.state.chat_changes import (
    AnswerBegan,
    AnswerEnded,
    AnswerFailed,
    AnswerGrew,
    AnswerProgressed,
    Asked,
    ChatChange,
    Cleared,
    Hindered,
    ThinkingGrew,
    Unhindered,
)
from app.state.conversation import attached_to, conversation
from app.state.engine_port import EnginePort
from app.state.exchange import Exchange, Outcome
from app.state.notice import Notice
from app.state.obstacle import Obstacle, find_obstacle
from engine.api.events import Event, Failed, Finished, FinishReason, Progress, TextDelta, ThinkingDelta
from engine.api.request import GenerateRequest


class ChatState:
    """Attributes: `changed` sends one `ChatChange` after another; `tray` holds what goes with the next question."""

    def __init__(self, engine: EnginePort, tray: AttachmentTray) -> None:
        self.changed: Notice[ChatChange] = Notice()
        self.tray = tray
        self._engine = engine
        self._exchanges: list[Exchange] = []
        self._request_id: str | None = None
        self._obstacle: Obstacle | None = None
        tray.changed.connect(lambda _items: self._look_again())

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        return tuple(self._exchanges)

    @property
    def running(self) -> bool:
        return self._request_id is not None

    def send(self, text: str) -> bool:
        """Ask, with what is in the tray. Returns whether anything was asked."""
        question = text.strip()
        if self.running or not (question or self.tray.items):
            return False
        if self._is_hindered(self.tray.items, attached_to(self._exchanges)):
            return False
        attachments = self.tray.take_all()
        question = question or question_about(attachments)
        self._exchanges.append(Exchange(question, attachments))
        self.changed.send(Asked(question, attachments))
        self._ask(again=False)
        return True

    def regenerate(self) -> bool:
        """Answer the last question once more."""
        if self.running or not self._exchanges:
            return False
        last = self._exchanges[-1]
        if self._is_hindered((), (*attached_to(self._exchanges[:-1]), *last.attachments)):
            return False
        last.answer, last.outcome = "", Outcome.RUNNING
        self._ask(again=True)
        return True

    def learn(self, key: int, facts: FileFacts) -> None:
        """What an attached file has turned out to hold, before or after it was sent."""
        if self.tray.learn(key, facts):
            return
        for exchange in self._exchanges:
            exchange.attachments = tuple(
                item.knowing(facts) if item.key == key else item for item in exchange.attachments
            )

    def stop(self) -> None:
        if self._request_id is not None:
            self._engine.cancel(self._request_id)

    def clear(self) -> None:
        """Begin a new conversation. What was still being answered is stopped and no longer listened to."""
        self.stop()
        self._request_id = None
        self._obstacle = None
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
        self._request_id = self._engine.submit(GenerateRequest(conversation(self._exchanges, self.tray.senses)))
        self.changed.send(AnswerBegan(again))

    def _is_hindered(self, new: tuple[Attachment, ...], earlier: tuple[Attachment, ...]) -> bool:
        """Says so, if it is."""
        self._obstacle = find_obstacle(new, earlier, self.tray.senses)
        if self._obstacle is not None:
            self.changed.send(Hindered(self._obstacle))
        return self._obstacle is not None

    def _look_again(self) -> None:
        """What was in the way may have gone with an attachment, or with the model."""
        if self._obstacle is None:
            return
        if find_obstacle(self.tray.items, attached_to(self._exchanges), self.tray.senses) is None:
            gone, self._obstacle = self._obstacle, None
            self.changed.send(Unhindered(gone))

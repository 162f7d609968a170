"""What the model is to read of the exchanges so far.

Knows nothing of how it is asked.
"""

from collections.abc import Iterable

from app.state.attachment import Attachment
from app.state.exchange import Exchange, Outcome
from app.state.senses import Senses
from engine.api.request import Message, Part, Role, Text


def conversation(exchanges: Iterable[Exchange], senses: Senses | None) -> tuple[Message, ...]:
    """Ends with the question to be answered.

    A question that failed is left out, so that one bad picture does not spoil every later turn. Questions that were
    stopped before an answer came are joined with the next one: many chat templates want the two sides to alternate.
    """
    messages: list[Message] = []
    waiting: tuple[Part, ...] = ()
    for exchange in _counted(exchanges):
        media = tuple(item.part(senses) for item in exchange.attachments)
        text = f"\n\n{exchange.question}" if waiting else exchange.question
        waiting = (*waiting, *media, Text(text))
        if exchange.answer:
            messages.append(Message(Role.USER, waiting))
            messages.append(Message(Role.ASSISTANT, (Text(exchange.answer),)))
            waiting = ()
    if waiting:
        messages.append(Message(Role.USER, waiting))
    return tuple(messages)


def attached_to(exchanges: Iterable[Exchange]) -> tuple[Attachment, ...]:
    """Everything that goes with the conversation."""
    return tuple(item for exchange in _counted(exchanges) for item in exchange.attachments)


def _counted(exchanges: Iterable[Exchange]) -> list[Exchange]:
    return [exchange for exchange in exchanges if exchange.outcome is not Outcome.FAILED]

"""Ctrl-C while a request is under way: the first one cancels it, a second one ends the program.

Knows nothing of what is printed. The handler raises nothing, so no event is lost between two lines of code.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from engine.exchange import Exchange

INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, as shells have it."""


@dataclass(slots=True)
class Interruption:
    happened: bool = False


@contextmanager
def cancelled_by_interrupt(exchange: Exchange) -> Iterator[Interruption]:
    """Has to be entered on the main thread, where Python delivers signals."""
    interruption = Interruption()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        interruption.happened = True
        signal.signal(signal.SIGINT, before)
        exchange.cancel()

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, before)

"""A change that listeners hear of: the plain-Python counterpart of a signal.

Knows nothing of Qt or threads: listeners are called at once, in the order in which they came.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

Change = TypeVar("Change")


class Notice(Generic[Change]):
    def __init__(self) -> None:
        self._listeners: list[Callable[[Change], object]] = []

    def connect(self, listener: Callable[[Change], object]) -> None:
        self._listeners.append(listener)

    def send(self, change: Change) -> None:
        for listener in tuple(self._listeners):
            listener(change)

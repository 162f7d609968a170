"""An engine whose letters arrive at set turns of its loop: a test says what comes when, and time has no part in it."""

import heapq
import itertools
import threading
from contextlib import contextmanager

from engine.api.request import Cancel
from engine.host import EngineHost
from engine.inbox import Inbox
from engine.loop import EngineLoop
from tests.recording import PATIENCE_S


class Script(Inbox):
    """The engine's inbox, with acts to be played on its thread. A turn is one look of the loop at its letters."""

    def __init__(self):
        super().__init__()
        self.turn = 0
        self._acts = []
        self._numbers = itertools.count()
        self._over = threading.Event()

    def at(self, turn, act):
        """`act()` is to be called at `turn`, or at once if that has passed. On the engine's thread, or before it
        plays."""
        heapq.heappush(self._acts, (turn, next(self._numbers), act))

    def play(self):
        """Until every act is over and nothing is under way."""
        self._over.clear()
        self.put(Cancel("nobody"))
        assert self._over.wait(PATIENCE_S), f"turn {self.turn}, {len(self._acts)} acts to come"

    def drain(self, *, wait, timeout=None):
        self.turn += 1
        if wait and timeout is None and self._acts and not self._letters:
            self.turn = max(self.turn, self._acts[0][0])
        while self._acts and self._acts[0][0] <= self.turn:
            heapq.heappop(self._acts)[2]()
        if wait and timeout is None and not self._acts and not self._letters:
            self._over.set()
        return super().drain(wait=wait, timeout=timeout)


@contextmanager
def scripted(monkeypatch, settings):
    """Yields a running host that has a `script` and, once something was asked of it, its `loop`."""
    script = Script()
    run = EngineLoop.run

    def watched(loop):
        host.loop = loop
        run(loop)

    with monkeypatch.context() as patch:
        patch.setattr("engine.host.Inbox", lambda: script)
        patch.setattr(EngineLoop, "run", watched)
        host = EngineHost(settings)
    host.script = script
    with host:
        yield host

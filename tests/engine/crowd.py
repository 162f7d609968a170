"""Many requests to one scripted engine, and what was heard of each: for tests that count in the turns of its loop.

Knows nothing of what is tested.
"""

from engine.api.events import Progress, Stage
from engine.api.request import GenerateRequest, Message, Role, Text
from tests.recording import Recorder


class Crowd:
    """Requests with names, at set turns, and one diary of all that is heard."""

    def __init__(self, host):
        self._host = host
        self._ids = {}
        self.recorders = {}
        self.diary = []
        """(turn, name, event)"""

    def ask(self, name, size=1, *, turn=0, seen=(), **options):
        """`size` letters of a question behind what is `seen`. `turn` counts from now."""
        options.setdefault("max_tokens", 6)
        # Of letters of its own, so that no two begin alike.
        request = GenerateRequest((Message(Role.USER, (*seen, Text(name[0] * size))),), **options)
        self.recorders[name] = Recorder()
        self.at(turn, lambda: self._ids.update({name: self._host.client.submit(request, self._hear(name))}))

    def cancel(self, name, *, turn):
        self.at(turn, lambda: self._host.client.cancel(self._ids[name]))

    def at(self, turn, act):
        self._host.script.at(self._host.script.turn + turn, act)

    def play(self):
        """All ends by name."""
        self._host.script.play()
        return {name: recorder.end() for name, recorder in self.recorders.items()}

    def _hear(self, name):
        def hear(events):
            self.recorders[name](events)
            self.diary += [(self._host.script.turn, name, event) for event in events]

        return hear

    def order(self, kind):
        """The names in the order in which each first had an event of this kind."""
        return list(dict.fromkeys(name for _, name, event in self.diary if isinstance(event, kind)))

    def turns(self, name, kind):
        return [turn for turn, who, event in self.diary if who == name and isinstance(event, kind)]

    def prefilled(self, name):
        return [(turn, e.done) for turn, who, e in self.diary if who == name and isprefill(e)]


def isprefill(event):
    return isinstance(event, Progress) and event.stage is Stage.PREFILL

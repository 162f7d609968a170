"""A sink that keeps what it hears and lets a test wait for it."""

import threading

from engine.api.events import Failed, Finished, TextDelta

PATIENCE_S = 60


class Recorder:
    def __init__(self):
        self.events = []
        self._changed = threading.Condition()

    def __call__(self, events):
        with self._changed:
            self.events.extend(events)
            self._changed.notify_all()

    def wait_for(self, condition):
        """Until `condition(events)` holds."""
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self.events), PATIENCE_S), self.events

    def end(self):
        """The terminal event, when it has come."""
        self.wait_for(lambda events: any(isinstance(event, Finished | Failed) for event in events))
        return self.terminal[0]

    @property
    def terminal(self):
        return [event for event in self.events if isinstance(event, Finished | Failed)]

    @property
    def text(self):
        return "".join(event.text for event in self.events if isinstance(event, TextDelta))

    @property
    def token_ids(self):
        return [token.token_id for event in self.events if isinstance(event, TextDelta) for token in event.tokens]

    @property
    def logprobs(self):
        return [token.logprob for event in self.events if isinstance(event, TextDelta) for token in event.tokens]

    def began(self):
        """When the first piece of the answer has come."""
        self.wait_for(lambda events: any(isinstance(event, TextDelta) for event in events))


def ask(client, request):
    """Submit and return the recorder, with the id it got as `request_id`."""
    recorder = Recorder()
    recorder.request_id = client.submit(request, recorder)
    return recorder

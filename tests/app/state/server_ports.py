"""A server port that only writes down what it is asked."""


class NotingServerPort:
    def __init__(self):
        self.calls = []

    def start(self, options):
        self.calls.append(("start", options))

    def stop(self):
        self.calls.append(("stop",))

    def key(self):
        self.calls.append(("key",))

    def renew_key(self):
        self.calls.append(("renew_key",))

    @property
    def names(self):
        return [call[0] for call in self.calls]


class Clock:
    """Stands still until it is moved."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

"""An engine port that only writes down what it is asked."""


class NotingPort:
    def __init__(self):
        self.requests = []
        self.cancelled = []

    def submit(self, request):
        self.requests.append(request)
        return f"r{len(self.requests)}"

    def cancel(self, request_id):
        self.cancelled.append(request_id)


def collect(notice):
    """What the notice sends from now on."""
    changes = []
    notice.connect(changes.append)
    return changes

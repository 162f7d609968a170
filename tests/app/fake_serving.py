"""A local API without ports, without a keychain and without anything that a server needs."""

from app.state.server_port import KeyRead

KEY = "fovea-0123456789abcdef-WXYZ"
OTHER_KEY = "fovea-fedcba9876543210-AAAA"


class FakeServer:
    def __init__(self, options, key, observe, on_lost):
        self.address = f"http://127.0.0.1:{options.port}"
        self.options = options
        self.key = key
        self.observe = observe
        """Hands a `RequestLine` to the window, from any thread."""
        self.lose = on_lost
        """Tells the window, from any thread, that it has ended by itself."""
        self.is_running = True

    def stop(self, patience_s=None):
        self.is_running = False


class FakeServing:
    """`servers` are those opened, in order. `failure` is raised instead of opening one, as long as it is there."""

    def __init__(self):
        self.servers = []
        self.failure = None
        self.key_failure = None
        self.read = KeyRead(KEY)
        self.times_read = 0

    @property
    def running(self):
        return [server for server in self.servers if server.is_running]

    def open(self, client, options, key, observe, on_lost):
        if self.failure is not None:
            raise self.failure
        self.servers.append(FakeServer(options, key, observe, on_lost))
        return self.servers[-1]

    def key(self):
        self.times_read += 1
        return self.read

    def new_key(self):
        if self.key_failure is not None:
            raise self.key_failure
        self.read = KeyRead(OTHER_KEY)
        return self.read

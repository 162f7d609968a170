"""The local API on a socket of its own, and what its tests ask of it when nobody asks any more: that nothing is left.

The engine behind it may be a real one or answer from a script.
"""

import asyncio
import http.client
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from engine.api.events import Failed, Finished
from engine.api.request import LoadModel, WatchStatus
from engine.api.settings import EngineSettings
from engine.host import EngineHost
from engine.serve.server import Server
from tests.recording import ask
from tests.serve.world import KEY, PATIENCE_S, ServedEngine, settings


class CountedClient:
    """A client's face, that knows what has not ended yet and how often each request did."""

    def __init__(self, client):
        self._client = client
        self._changed = threading.Condition()
        self.submitted = {}
        self.ends = {}

    def submit(self, request, sink):
        def heard(events):
            with self._changed:
                for event in events:
                    if isinstance(event, Finished | Failed):
                        self.ends.setdefault(event.request_id, []).append(event)
                self._changed.notify_all()
            sink(events)

        # The end may come before the id is known here; both are counted, so the order does not matter.
        request_id = self._client.submit(request, heard)
        with self._changed:
            self.submitted[request_id] = request
            self._changed.notify_all()
        return request_id

    def cancel(self, request_id):
        self._client.cancel(request_id)

    @property
    def open(self):
        """Of what was asked, what has not ended; those who only watch never do."""
        return [
            request
            for request_id, request in self.submitted.items()
            if request_id not in self.ends and not isinstance(request, WatchStatus)
        ]

    def wait_for(self, condition):
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S), self.open


@dataclass
class Live:
    server: Server
    client: CountedClient
    log: list = field(default_factory=list)
    engine: Any = None

    @property
    def base(self):
        return self.server.address

    @property
    def port(self):
        return int(self.base.rpartition(":")[2])

    @property
    def desk(self):
        return self.server._running._desk

    def on_loop(self, work):
        """The result of a coroutine, run on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self.server._running._loop).result(2 * PATIENCE_S)

    def known(self):
        """Returns once the server knows what the engine has loaded."""
        self.on_loop(_known(self.server.board))

    def nothing_left(self):
        """No place, no answer, no request with the engine, no task of a request; each was told one end."""
        self.client.wait_for(lambda: not self.client.open)
        self.on_loop(self._emptied())
        assert all(len(ends) == 1 for ends in self.client.ends.values())

    async def _emptied(self):
        admission, me = self.desk.admission, asyncio.current_task()
        async with asyncio.timeout(PATIENCE_S):
            while (
                admission.running
                or admission.waiting
                or admission.side
                or admission._of_tenant
                or self.desk.answers
                or self._tasks(me)
            ):
                await asyncio.sleep(0.002)

    def connections_gone(self):
        """Waits until no client has one any more."""

        async def gone():
            async with asyncio.timeout(PATIENCE_S):
                while self.server._running.server_state.connections:
                    await asyncio.sleep(0.002)

        self.on_loop(gone())

    def _tasks(self, me):
        """All but the server's own and the one that looks."""
        return [task for task in asyncio.all_tasks() if task is not me and "serve" not in repr(task.get_coro())]

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def raw(self, method, path, body=None, **headers):
        """The whole answer to a request that is sent as it stands: status, headers, bytes."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        given = {"authorization": f"Bearer {KEY}", **({} if data is None else {"content-type": "application/json"})}
        connection = self.connect()
        try:
            connection.request(method, path, data, given | headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()


@contextmanager
def serving(client, engine=None, **fields):
    """A server on a free port that knows which model is loaded."""
    log, counted = [], CountedClient(client)
    server = Server(counted, settings(**{"port": 0, **fields}), (log.append,))
    server.start()
    live = Live(server, counted, log, engine)
    try:
        live.known()
        yield live
    finally:
        server.stop(0)


async def _known(board):
    async with asyncio.timeout(PATIENCE_S):
        while board.model is None:
            await asyncio.sleep(0.002)


@contextmanager
def scripted(scripts=None, **fields):
    """Over an engine that answers from a script."""
    engine = ServedEngine(scripts)
    engine.start()
    try:
        with serving(engine.client, engine, **fields) as live:
            yield live
    finally:
        engine.close(PATIENCE_S)


@contextmanager
def real_engine(folder, **fields):
    """A client of an engine with the model in a folder."""
    with EngineHost(EngineSettings(**fields)) as host:
        ended = ask(host.client, LoadModel(str(folder))).end()
        assert isinstance(ended, Finished), ended
        yield host.client

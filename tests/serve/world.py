"""A local API over an engine that answers from a script, asked in process: no sockets, no model, no waiting.

Has a route of its own, so that what carries answers is tried without any protocol.
"""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any

import httpx2
from fastapi import APIRouter, Depends

from engine.api.events import Failed, Finished, FinishReason, Status, TextDelta
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text, UnloadModel, WatchStatus
from engine.serve.application import build_application
from engine.serve.board import Board
from engine.serve.desk import Caller, caller_of
from engine.serve.failures import Protocol, error_body
from engine.serve.settings import Limits, ServeSettings
from engine.serve.wire.frames import Frame
from tests.fake_engine import INFO, WAIT, FakeEngine

KEY = "fovea-key-of-the-tests"
OTHER_KEY = "fovea-another-key-of-the-tests"
HEADERS = {"authorization": f"Bearer {KEY}"}
PATIENCE_S = 20
ADDRESS = "http://127.0.0.1:8080"


class ServedEngine(FakeEngine):
    """Tells of a model that is loaded, and of those that are loaded and unloaded."""

    def __init__(self, scripts=None, model=INFO):
        super().__init__({WatchStatus: self._watch, LoadModel: self.load, UnloadModel: self._unload} | (scripts or {}))
        self.status = Status("", model, 5_000_000, 0, 0)

    @property
    def under_way(self):
        """Requests that have not ended, but for those who watch."""
        open_now = [envelope.request for envelope, _ in list(self._under_way.values())]
        return [request for request in open_now if not isinstance(request, WatchStatus)]

    def _watch(self, request_id, request):
        told = None
        while True:
            if told is self.status:
                yield WAIT
            else:
                told = self.status
                yield replace(told, request_id=request_id)

    def load(self, request_id, request):
        self.status = replace(self.status, loading=request.source, model=None)
        yield replace(self.status, request_id=request_id)
        info = replace(INFO, source=request.source)
        self.status = replace(self.status, loading="", model=info)
        yield replace(self.status, request_id=request_id)
        yield Finished(request_id, FinishReason.DONE, model=info)

    def _unload(self, request_id, request):
        self.status = replace(self.status, model=None)
        yield replace(self.status, request_id=request_id)
        yield Finished(request_id, FinishReason.DONE)


class PlainWriter:
    """Each piece of text as it is."""

    def __init__(self, facts):
        self._facts = facts
        self._texts = []

    def opening(self):
        return [Frame({"number": self._facts.number, "model": self._facts.model})]

    def write(self, event):
        match event:
            case TextDelta():
                self._texts.append(event.text)
                return [Frame({"text": event.text}, "piece")]
            case Failed():
                return [Frame(error_body(Protocol.OPENAI, event), "error")]
            case Finished():
                return [Frame(event.reason.value)]
        return []

    def whole(self):
        return {"text": "".join(self._texts), "model": self._facts.model}

    def ping(self):
        return None


@dataclass
class World:
    engine: ServedEngine
    built: Any
    board: Board
    http: httpx2.AsyncClient
    log: list

    @property
    def desk(self):
        return self.built.desk

    async def say(self, text="Hello", *, key=KEY, stream=False, **fields):
        body = {"text": text, "stream": stream, **fields}
        return await self.http.post("/say", json=body, headers={"authorization": f"Bearer {key}"})

    async def until(self, condition):
        """Lets everything go on until `condition()` holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(0)

    async def nothing_left(self):
        """No place, no answer, no request with the engine."""
        admission = self.desk.admission
        await self.until(
            lambda: (
                not (
                    self.engine.under_way
                    or self.desk.answers
                    or admission.running
                    or admission.waiting
                    or admission.side
                )
            )
        )


def say_route(desk):
    routes = APIRouter()

    @routes.post("/say", response_model=None)
    async def say(body: dict, caller: Annotated[Caller, Depends(caller_of)]):
        request = GenerateRequest((Message(Role.USER, (Text(body["text"]),)),))
        source = await desk.resolve_model(body.get("model"))
        return await desk.answer(caller, request, PlainWriter, source=source, asked="shown", stream=body.get("stream"))

    return routes


async def as_they_are(request):
    """In place of what settles media."""
    return request


def settings(**fields):
    limits = fields.pop("limits", {})
    return ServeSettings(**{"keys": (KEY, OTHER_KEY), "limits": Limits(**limits), **fields})


def open_world(scripts=None, *, model=INFO, settle=as_they_are, **fields):
    return _open_world(ServedEngine(scripts, model), settings(**fields), settle)


@asynccontextmanager
async def _open_world(engine, serve_settings, settle):
    log, board = [], Board()
    built = build_application(engine.client, serve_settings, board, (log.append,), settle=settle)
    built.api.include_router(say_route(built.desk))
    transport = httpx2.ASGITransport(built.app, raise_app_exceptions=False)
    with engine:
        board.watch(engine.client)
        async with httpx2.AsyncClient(transport=transport, base_url=ADDRESS, headers=HEADERS) as http:
            world = World(engine, built, board, http, log)
            await world.until(lambda: board.status is not None)
            yield world


class Visit:
    """One request, message by message: what a client sends and when it leaves is up to a test. `None` among its
    chunks is one that never comes."""

    def __init__(self, app, path="/say", *, method="POST", body=None, headers=(), chunks=None):
        data = b"" if body is None else json.dumps(body).encode()
        self.chunks = [data] if chunks is None else list(chunks)
        self._gone = asyncio.Event()
        self.sent = []
        given = {"host": "127.0.0.1:8080", **HEADERS, **dict(headers)}
        if body is not None or chunks is not None:
            given.setdefault("content-type", "application/json")
            given.setdefault("transfer-encoding", "chunked")
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value is not None],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 8080),
        }
        self.before_send = None
        """Awaited before each message is taken."""
        self.task = asyncio.ensure_future(app(self._scope, self._receive, self._send))

    def add_header(self, name, value):
        self._scope["headers"].append((name.encode(), value.encode()))

    def leave(self):
        self._gone.set()

    @property
    def status(self):
        return next((message["status"] for message in self.sent if message["type"] == "http.response.start"), None)

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent)

    @property
    def is_whole(self):
        last = self.sent[-1] if self.sent else {"type": ""}
        return last["type"] == "http.response.body" and not last.get("more_body", False)

    async def _receive(self):
        if self.chunks and self.chunks[0] is not None:
            chunk = self.chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(self.chunks)}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message):
        if self.before_send is not None:
            await self.before_send(message)
        self.sent.append(dict(message))


def wait_for_model(server):
    """Until the server has heard of the one that its engine has."""
    deadline = time.monotonic() + PATIENCE_S
    while server.board.model is None:
        assert time.monotonic() < deadline
        time.sleep(0)


def events_of(text):
    """The data of each server-sent event, as it stands."""
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]

"""Sixty-four clients at once, of all manners: each gets one ending, and nothing of them is left."""

import asyncio
import json
import socket
from collections import Counter
from dataclasses import dataclass

import httpx2
import psutil
import pytest

from engine.api.events import Finished, FinishReason, TextDelta
from engine.api.request import GenerateRequest
from tests.fake_engine import USAGE, WAIT, speak_until_cancelled
from tests.serve.live import real_engine, scripted, serving
from tests.serve.world import HEADERS, KEY, OTHER_KEY, PATIENCE_S, events_of

CLIENTS = 64
LETTERS = {"guided_regex": "[a-z]{16}"}
LONG = {"guided_regex": "[a-z]{300}", "max_tokens": 400}
QUESTION = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
LIMITS = {"max_running": 6, "max_queue": 6, "max_per_key": 8, "keep_alive_s": 0.05}


@dataclass
class Ending:
    kind: str
    """What became of a request: answered, left, refused, or not as it should."""
    status: int
    retry_after: str | None = None
    text: str = ""


class Crowd:
    def __init__(self, base):
        self._base = base
        self.health = []
        """Statuses of `/health`, asked all the while."""

    async def run(self):
        """The endings in the order of the clients."""
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=self._base, limits=limits, timeout=2 * PATIENCE_S) as self._http:
            watching = asyncio.ensure_future(self._watch())
            try:
                return await asyncio.gather(*(self._one(number) for number in range(CLIENTS)))
            finally:
                watching.cancel()

    async def _watch(self):
        while True:
            self.health.append((await self._http.get("/health")).status_code)

    def _one(self, number):
        key = KEY if number % 4 else OTHER_KEY
        manners = (self._stream, self._whole, self._leave, self._slow, self._message, self._wrong, self._leave_whole)
        return manners[number % len(manners)]({"authorization": f"Bearer {key}"})

    def _body(self, **fields):
        return {"messages": [{"role": "user", "content": "Hello"}], **LETTERS, **fields}

    async def _whole(self, headers):
        answer = await self._http.post("/v1/chat/completions", json=self._body(), headers=headers)
        if answer.status_code != 200:
            return refusal(answer)
        return Ending("answered", 200, text=answer.json()["choices"][0]["message"]["content"])

    async def _stream(self, headers, pause=None):
        async with self._streamed("/v1/chat/completions", self._body(stream=True), headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return refusal(answer)
            text = ""
            async for line in answer.aiter_text(chunk_size=64):
                text += line
                if pause:
                    await pause()
            events = events_of(text)
            ends = [event for event in events if '"finish_reason":"' in event or '"error"' in event]
            right = events[-1] == "[DONE]" and len(ends) == 1
            told = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
            return Ending("answered" if right else "broken", 200, text="".join(told))

    async def _slow(self, headers):
        """Reads a little, and lets all the others go first, time and again."""

        async def pause():
            for _ in range(50):
                await asyncio.sleep(0)

        return await self._stream(headers, pause)

    async def _message(self, headers):
        body = {"messages": self._body()["messages"], "max_tokens": 12, "stream": True}
        async with self._streamed("/v1/messages", body, headers) as answer:
            text = (await answer.aread()).decode()
            if answer.status_code != 200:
                return refusal(answer)
            right = text.count("event: message_stop") == text.count("event: message_start") == 1
            return Ending("answered" if right else "broken", 200)

    async def _leave(self, headers):
        """When half of it has come."""
        async with self._streamed("/v1/chat/completions", self._body(stream=True, **LONG), headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return refusal(answer)
            async for _ in answer.aiter_text():
                return Ending("left", 200)
            return Ending("broken", 200)

    async def _leave_whole(self, headers):
        """Before anything has come."""
        data = json.dumps(self._body(**LONG)).encode()
        given = {"host": "127.0.0.1", "content-type": "application/json", "content-length": len(data), **headers}
        lines = ["POST /v1/chat/completions HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        _, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(self._base).port)
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        writer.close()
        await writer.wait_closed()
        return Ending("left", 0)

    async def _wrong(self, headers):
        body = self._body(temperature=-1)
        answer = await self._http.post("/v1/chat/completions", json=body, headers=headers)
        return refusal(answer)

    def _streamed(self, path, body, headers):
        return self._http.stream("POST", path, json=body, headers=headers)


def refusal(answer):
    told = answer.json()
    assert "error" in told
    return Ending("refused", answer.status_code, answer.headers.get("retry-after"), told["error"]["message"])


def test_a_crowd_leaves_nothing_behind(tiny_smolvlm):
    process = psutil.Process()
    with real_engine(tiny_smolvlm) as client, serving(client, limits=LIMITS) as live:
        asyncio.run(Crowd(live.base).run())
        live.nothing_left()
        open_before, memory_before = process.num_fds(), live.server.board.status.memory_bytes
        crowd = Crowd(live.base)
        endings = asyncio.run(crowd.run())
        live.nothing_left()

        kinds = Counter(ending.kind for ending in endings)
        assert sum(kinds.values()) == CLIENTS
        assert not kinds["broken"], endings
        assert kinds["answered"]
        assert kinds["left"]
        statuses = Counter(ending.status for ending in endings if ending.kind == "refused")
        # Nine of them send what is wrong; the others are too many for their keys or for all.
        assert statuses[422] == 9
        assert statuses[429] + statuses[503] > 0
        assert set(statuses) <= {422, 429, 503}
        assert all(int(e.retry_after) >= 1 for e in endings if e.status in (429, 503))
        assert all(len(ending.text) in (0, 16) for ending in endings if ending.kind == "answered")

        assert len(crowd.health) > 3
        assert set(crowd.health) == {200}
        live.connections_gone()
        assert process.num_fds() <= open_before
        assert live.server.board.status.running == live.server.board.status.waiting == 0
        assert live.server.board.status.memory_bytes <= 2 * memory_before
        # One entry for each, and as many of each kind as the clients saw.
        told = Counter(entry.status for entry in live.log if entry.route != "/health")
        assert told[429] + told[503] >= statuses[429] + statuses[503]


def test_all_are_answered_where_there_is_room(tiny_llama):
    limits = {"max_running": 8, "max_queue": CLIENTS, "max_per_key": CLIENTS}
    with real_engine(tiny_llama) as client, serving(client, limits=limits) as live:

        async def main():
            crowd = Crowd(live.base)
            crowd._one = lambda number: crowd._stream(HEADERS) if number % 2 else crowd._whole(HEADERS)
            return await crowd.run()

        endings = asyncio.run(main())
        live.nothing_left()
    assert {(ending.kind, len(ending.text)) for ending in endings} == {("answered", 16)}


def test_a_crowd_is_told_that_the_server_ends():
    """All who wait for more of an answer, and none of them waits for ever."""
    clients = 20

    async def main(live):
        limits = httpx2.Limits(max_connections=None)
        began = [asyncio.Event() for _ in range(clients)]

        async def listen(number):
            async with http.stream("POST", "/v1/chat/completions", json=QUESTION, headers=HEADERS) as answer:
                text = ""
                async for piece in answer.aiter_text():
                    text += piece
                    began[number].set()
                return text

        async with httpx2.AsyncClient(base_url=live.base, limits=limits, timeout=PATIENCE_S) as http:
            listening = [asyncio.ensure_future(listen(number)) for number in range(clients)]
            await asyncio.gather(*(each.wait() for each in began))
            await asyncio.to_thread(live.server.stop, 0)
            return await asyncio.gather(*listening)

    with scripted({GenerateRequest: speak_until_cancelled("Hello")}) as live:
        texts = asyncio.run(main(live))
        assert all(text.count('"stopping"') == 1 and text.endswith("data: [DONE]\n\n") for text in texts)
        assert not live.client.open


def never_reads(live, body):
    """A socket with little room, whose owner has sent a question and takes nothing."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", live.port))
    data = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    deaf.sendall(head.encode() + data)
    return deaf


def talk_a_lot(request_id, request):
    for _ in range(400):
        yield TextDelta(request_id, "x" * 50_000)
    yield Finished(request_id, FinishReason.STOP, USAGE)


def talk_a_lot_at_once(request_id, request):
    yield TextDelta(request_id, "x" * 20_000_000)
    yield Finished(request_id, FinishReason.STOP, USAGE)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("script", [talk_a_lot, talk_a_lot_at_once])
def test_one_that_never_reads_is_let_go_and_so_is_its_connection(script, stream, caplog):
    """More than the sockets hold: whoever reads nothing of it is given up, and does not keep the server from ending."""
    with scripted({GenerateRequest: script}, limits={"send_s": 0.1}) as live:
        deaf = never_reads(live, {**QUESTION, "stream": stream})
        try:
            live.client.wait_for(lambda: any(type(r) is GenerateRequest for r in live.client.submitted.values()))
            live.nothing_left()
            live.connections_gone()
        finally:
            deaf.close()
        assert live.log[-1].cancelled
        assert not caplog.records


def test_a_connection_that_is_dropped_rudely_ends_the_answer():
    def wait(request_id, request):
        yield TextDelta(request_id, "Hello")
        while True:
            yield WAIT

    with scripted({GenerateRequest: wait}) as live:
        gone = never_reads(live, QUESTION)
        live.client.wait_for(lambda: len(live.client.open) == 1)
        # Not closed but reset.
        gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        gone.close()
        live.nothing_left()
        live.connections_gone()

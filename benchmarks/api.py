"""How the local API behaves under load, on the starter: `python benchmarks/api.py`.

Whether `/health` answers while a model is loaded, how long somebody waits who is turned away because all places are
taken, and what an answer loses by going over HTTP: the same greedy question in turns, straight to the engine and as a
stream. Milliseconds are of this machine; what the engine does meanwhile is done in the same process.
"""

import http.client
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

from engine.device import open_blas

if __name__ == "__main__":
    # Fovea is installed without torch. The tests' environment has it, and transformers would import it.
    sys.modules["torch"] = None  # type: ignore[assignment]
# Before anything imports MLX.
open_blas()

from engine.api.events import TextDelta  # noqa: E402
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text  # noqa: E402
from engine.api.settings import EngineSettings, SamplingSettings, SpeculationSettings  # noqa: E402
from engine.client import EngineClient  # noqa: E402
from engine.exchange import Exchange  # noqa: E402
from engine.host import EngineHost  # noqa: E402
from engine.serve.server import Server  # noqa: E402
from engine.serve.settings import Limits, ServeSettings  # noqa: E402

KEY = "fovea-benchmark-of-the-local-api"
QUESTION = "Tell me about the sea."
TOKENS = 128
PLACES = 4
LOADS, REFUSALS, ROUNDS = 5, 200, 5


def main() -> int:
    limits = Limits(max_running=PLACES // 2, max_queue=PLACES // 2, max_per_key=PLACES)
    settings = ServeSettings(port=0, keys=(KEY,), limits=limits)
    with EngineHost(EngineSettings(speculation=SpeculationSettings(lookup=False))) as engine:
        server = Server(engine.client, settings)
        server.start()
        try:
            print("| | median | 99 of 100 | longest |\n| --- | ---: | ---: | ---: |")
            print(
                f"| `/health` while the starter is loaded {LOADS} times, ms | {told(health(server, engine.client))} |"
            )
            print(f"| turned away with all places taken, ms | {told(refusals(server))} |")
            first, speed = streams(server, engine.client)
            print(f"\nOver HTTP, first token {first:+.1f} ms; tokens a second {speed:.2f}x (median of {ROUNDS}).")
        finally:
            server.stop(0)
    return 0


def told(seconds: list[float]) -> str:
    ordered = sorted(1000 * each for each in seconds)
    return f"{median(ordered):.1f} | {ordered[int(0.99 * len(ordered))]:.1f} | {ordered[-1]:.1f}"


def health(server: Server, client: EngineClient) -> list[float]:
    """Seconds of one request after the other, on one connection."""
    done, times = threading.Event(), []

    def ask() -> None:
        connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
        while not done.is_set():
            began = time.perf_counter()
            connection.request("GET", "/health")
            connection.getresponse().read()
            times.append(time.perf_counter() - began)
            done.wait(0.01)
        connection.close()

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(LOADS):
        Exchange(client, LoadModel("starter")).finish()
    done.set()
    asking.join()
    return times


def refusals(server: Server) -> list[float]:
    """Seconds until a 429 or 503, while as many answers as there are places are under way."""
    times: list[float] = []
    with holding(server, PLACES):
        for _ in range(REFUSALS):
            began = time.perf_counter()
            with asked(server) as answer:
                if answer.status not in (429, 503):
                    raise SystemExit(f"A request was let in where there was no place: {answer.status}")
            times.append(time.perf_counter() - began)
    return times


@contextmanager
def holding(server: Server, places: int) -> Iterator[None]:
    """Takes them, with answers that are long enough."""
    if not places:
        yield
        return
    with asked(server, max_tokens=4000), holding(server, places - 1):
        yield


@contextmanager
def asked(server: Server, **fields: Any) -> Iterator[http.client.HTTPResponse]:
    connection = http.client.HTTPConnection(server.address.removeprefix("http://"))
    body = {"messages": [{"role": "user", "content": QUESTION}], "stream": True, "temperature": 0, **fields}
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        yield connection.getresponse()
    finally:
        connection.close()


def streams(server: Server, client: EngineClient) -> tuple[float, float]:
    """Milliseconds that a first token comes later over HTTP, and tokens a second as a share of those without."""
    later, shares = [], []
    for _ in range(ROUNDS):
        straight, over_http = straight_to(client), over(server)
        later.append(1000 * (over_http[0] - straight[0]))
        shares.append(straight[1] / over_http[1])
    return median(later), median(shares)


def straight_to(client: EngineClient) -> tuple[float, float]:
    """Seconds to the first piece of text, and from there to the end."""
    prompt = (Message(Role.USER, (Text(QUESTION),)),)
    began, first = time.perf_counter(), 0.0
    for event in Exchange(client, GenerateRequest(prompt, TOKENS, sampling=SamplingSettings(temperature=0))):
        if isinstance(event, TextDelta) and event.text:
            first = first or time.perf_counter()
    return first - began, time.perf_counter() - first


def over(server: Server) -> tuple[float, float]:
    began, first = time.perf_counter(), 0.0
    with asked(server, max_tokens=TOKENS) as answer:
        for line in answer:
            if line.startswith(b"data: {") and b'"content"' in line:
                first = first or time.perf_counter()
    return first - began, time.perf_counter() - first


if __name__ == "__main__":
    raise SystemExit(main())

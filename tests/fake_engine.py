"""An engine that answers from a script: for tests of the fronts, without a model, without MLX, without Qt.

Requests come through a real client and a real inbox, and each gets exactly one terminal event.
"""

import threading
from collections.abc import Callable, Iterator

from engine.api.conversion import ConvertModel
from engine.api.errors import EngineError
from engine.api.events import (
    Accepted,
    Event,
    Failed,
    Finished,
    FinishReason,
    LocalModel,
    Modality,
    ModelInfo,
    Progress,
    Stage,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)
from engine.api.request import (
    Cancel,
    DescribeModel,
    GenerateRequest,
    ListModels,
    LoadModel,
    PullModel,
    RemoveModel,
    Request,
    UnloadModel,
)
from engine.client import EngineClient
from engine.inbox import Envelope, Inbox

WAIT = None
"""What a script yields to do nothing until the next letter arrives."""

Script = Callable[[str, Request], Iterator[Event | None]]
"""From a request's id and the request to its events, without `Accepted`; what it raises becomes `Failed`."""

INFO = ModelInfo(
    source="starter",
    name="Fake 1M",
    model_type="fake",
    modalities=frozenset({Modality.TEXT, Modality.IMAGE}),
    parameters=1_000_000,
    weight_bytes=4_000_000,
    context_length=2048,
    device="CPU (fake)",
)
USAGE = Usage(prompt_tokens=7, completion_tokens=2, image_tokens=3, context_length=2048)
TIMINGS = Timings(load_s=1.5, ttft_s=0.25, prompt_tps=100.0, generation_tps=20.0, peak_memory_bytes=5_000_000)
MODELS = (LocalModel("starter", "/models/starter", "fake", 4_000_000),)


def load(request_id: str, request: LoadModel) -> Iterator[Event]:
    yield Progress(request_id, Stage.LOADING, 1_000_000, 4_000_000)
    yield Finished(request_id, FinishReason.DONE, model=INFO)


def speak(*words: str) -> Script:
    """An answer of these words, one token each, numbered from 10."""

    def script(request_id: str, request: GenerateRequest) -> Iterator[Event]:
        yield Progress(request_id, Stage.PREFILL, 7, 7)
        for number, word in enumerate(words):
            yield TextDelta(request_id, word, (TokenLogprob(10 + number, -0.5),))
        yield Finished(request_id, FinishReason.STOP, USAGE, TIMINGS)

    return script


def speak_until_cancelled(word: str) -> Script:
    """One word, then nothing more until somebody cancels."""

    def script(request_id: str, request: GenerateRequest) -> Iterator[Event | None]:
        yield TextDelta(request_id, word, (TokenLogprob(10, -0.5),))
        while True:
            yield WAIT

    return script


def fail(error: EngineError) -> Script:
    def script(request_id: str, request: Request) -> Iterator[Event]:
        raise error
        yield

    return script


def finish(**fields: object) -> Script:
    def script(request_id: str, request: Request) -> Iterator[Event]:
        yield Finished(request_id, FinishReason.DONE, **fields)

    return script


SCRIPTS: dict[type, Script] = {
    LoadModel: load,
    UnloadModel: finish(),
    GenerateRequest: speak("Hello", " world"),
    ListModels: finish(models=MODELS),
    DescribeModel: finish(model=INFO),
    PullModel: finish(path="/cache/model"),
    RemoveModel: finish(),
    ConvertModel: finish(model=INFO, path="/models/converted"),
}


class FakeEngine:
    """Has a host's face. `requests` are those received, in order; `scripts` replace the usual ones by request type."""

    def __init__(self, scripts: dict[type, Script] | None = None) -> None:
        self.requests: list[Request] = []
        self.settings = None
        self._scripts = SCRIPTS | (scripts or {})
        self._inbox = Inbox()
        self.client = EngineClient(self._inbox)
        self._under_way: dict[str, tuple[Envelope, Iterator[Event | None]]] = {}
        self._thread = threading.Thread(target=self._run, name="fake engine", daemon=True)

    def open(self, settings: object) -> "FakeEngine":
        """Stands in for `EngineHost(settings)`."""
        self.settings = settings
        return self

    def start(self) -> None:
        self._thread.start()

    def close(self, timeout: float | None = None) -> None:
        self.client.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def __enter__(self) -> "FakeEngine":
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self) -> None:
        idle = True
        while not self._inbox.closed:
            for letter in self._inbox.drain(wait=idle):
                self._take(letter)
            idle = not any([self._step(request_id) for request_id in list(self._under_way)])
        for letter in self._inbox.drain(wait=False):
            self._take(letter)
        for request_id in list(self._under_way):
            self._cancel(request_id)

    def _take(self, letter: Envelope | Cancel) -> None:
        if isinstance(letter, Cancel):
            self._cancel(letter.request_id)
            return
        self.requests.append(letter.request)
        script = self._scripts[type(letter.request)](letter.request_id, letter.request)
        self._under_way[letter.request_id] = letter, script
        letter.sink((Accepted(letter.request_id),))

    def _cancel(self, request_id: str) -> None:
        if request_id in self._under_way:
            envelope, script = self._under_way.pop(request_id)
            script.close()
            envelope.sink((Finished(request_id, FinishReason.CANCELLED, USAGE, TIMINGS),))

    def _step(self, request_id: str) -> bool:
        """One event of one request; whether there was one."""
        envelope, script = self._under_way[request_id]
        try:
            event = next(script)
        except EngineError as error:
            event = Failed.from_error(request_id, error)
        if event is WAIT:
            return False
        if isinstance(event, Finished | Failed):
            del self._under_way[request_id]
        envelope.sink((event,))
        return True

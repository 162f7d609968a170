"""One program's half of `generation.py`, run in that program's own environment: does one task, prints JSON.

Both halves do the same work, told in the same words, timed with the same clock. Imports only the program asked for.
"""

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

QUESTION = "Describe this picture in detail."
FURTHER = "What is in its upper left corner?"
"""Asked in the second turn."""
TOPICS = ("the sea", "old bridges", "a lighthouse", "the moon", "bread", "winter", "railways", "a small garden")
COPY = (
    "Say this text again, word for word: The ferry leaves the north quay at half past six and reaches the island by "
    "eight. On Sundays the ferry leaves the north quay at nine and reaches the island by half past ten. The ferry "
    "does not leave the north quay when the wind blows from the west."
)
FREE = "Tell a story about a fox who learns to read."


@dataclass
class Reply:
    """What one request gave; seconds from the call."""

    ttft_s: float
    end_s: float
    tokens: int
    prompt_tokens: int
    cached_tokens: int
    text: str
    drafted: int = 0
    accepted: int = 0


@dataclass
class Crowd:
    """Several answers at once."""

    streams: int
    tokens: int
    total_s: float
    """From the call to the last token."""
    decode_tps: float
    """Tokens of all streams a second once every prompt has been read."""


@dataclass
class Options:
    model: str
    max_tokens: int
    disk: Path | None
    lookup: bool


class Program(Protocol):
    def reply(self, prompt: str, pictures: list[str], max_tokens: int) -> Reply:
        """To a prompt as rendered, `<image>` where a picture stands."""
        ...

    def crowd(self, questions: list[str], max_tokens: int) -> Crowd: ...

    def begin_conversation(self) -> None:
        """What follows may go on from itself."""
        ...

    def close(self) -> None: ...


class Fovea:
    def __init__(self, options: Options) -> None:
        # Fovea is installed without torch. The tests' environment has it, and transformers would import it.
        sys.modules["torch"] = None  # type: ignore[assignment]
        from engine.api.request import LoadModel
        from engine.api.settings import CacheSettings, EngineSettings, SpeculationSettings
        from engine.exchange import Exchange
        from engine.host import EngineHost

        settings = EngineSettings(
            cache=CacheSettings(disk_dir=options.disk), speculation=SpeculationSettings(lookup=options.lookup)
        )
        self._host = EngineHost(settings)
        self._host.start()
        Exchange(self._host.client, LoadModel(options.model)).finish()

    def begin_conversation(self) -> None: ...

    def close(self) -> None:
        self._host.close()

    def reply(self, prompt: str, pictures: list[str], max_tokens: int) -> Reply:
        from engine.api.events import TextDelta
        from engine.api.request import GenerateRequest, Image, RenderedPrompt
        from engine.exchange import Exchange

        media = tuple(Image(Path(picture)) for picture in pictures)
        started = time.perf_counter()
        exchange = Exchange(self._host.client, GenerateRequest(RenderedPrompt(prompt, media), max_tokens))
        first, text = 0.0, ""
        for event in exchange:
            if isinstance(event, TextDelta):
                first = first or time.perf_counter()
                text += event.text
        ended, usage = time.perf_counter(), exchange.finish().usage
        return Reply(
            first - started,
            ended - started,
            usage.completion_tokens,
            usage.prompt_tokens,
            usage.cached_tokens,
            text,
            usage.drafted_tokens,
            usage.accepted_tokens,
        )

    def crowd(self, questions: list[str], max_tokens: int) -> Crowd:
        from engine.api.events import Event, TextDelta
        from engine.api.request import GenerateRequest, Message, Role, Text
        from engine.exchange import Exchange

        arrivals: list[list[float]] = [[] for _ in questions]
        lock = Lock()

        def listen(number: int, events: tuple[Event, ...]) -> None:
            now = time.perf_counter()
            with lock:
                for event in events:
                    if isinstance(event, TextDelta):
                        arrivals[number] += [now] * len(event.tokens)

        class Listening(Exchange):
            """Notes when tokens come, on the thread they come from."""

            def __init__(self, client: Any, request: GenerateRequest, number: int) -> None:
                super().__init__(_Tapped(client, lambda events: listen(number, events)), request)

        started = time.perf_counter()
        exchanges = [
            Listening(self._host.client, GenerateRequest((Message(Role.USER, (Text(question),)),), max_tokens), number)
            for number, question in enumerate(questions)
        ]
        for exchange in exchanges:
            exchange.finish()
        everybody, somebody_ended = max(times[0] for times in arrivals), min(times[-1] for times in arrivals)
        while_all = [at for times in arrivals for at in times if everybody < at <= somebody_ended]
        return Crowd(
            len(questions),
            sum(map(len, arrivals)),
            max(times[-1] for times in arrivals) - started,
            len(while_all) / (somebody_ended - everybody),
        )


class _Tapped:
    """A client whose sinks are heard by somebody else first."""

    def __init__(self, client: Any, tap: Any) -> None:
        self._client, self._tap = client, tap

    def submit(self, request: Any, sink: Any) -> str:
        def both(events: Any) -> None:
            self._tap(events)
            sink(events)

        return self._client.submit(request, both)

    def cancel(self, request_id: str) -> None:
        self._client.cancel(request_id)


class MlxVlm:
    def __init__(self, options: Options) -> None:
        from mlx_vlm import load

        self._model, self._processor = load(options.model)
        self._state: Any = None
        self._shared: Any = None
        if options.disk is not None:
            from mlx_vlm.apc import APCManager, DiskBlockStore

            self._shared = APCManager(disk=DiskBlockStore(options.disk))

    def begin_conversation(self) -> None:
        from mlx_vlm.generate.common import PromptCacheState

        self._state = PromptCacheState()

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()

    def reply(self, prompt: str, pictures: list[str], max_tokens: int) -> Reply:
        from mlx_vlm import stream_generate

        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": 0.0}
        if self._shared is not None:
            options["apc_manager"] = self._shared
        elif self._state is not None:
            options["prompt_cache_state"] = self._state
        started = time.perf_counter()
        first, text, last = 0.0, "", None
        for last in stream_generate(self._model, self._processor, prompt, image=pictures or None, **options):
            first = first or time.perf_counter()
            text += last.text
        ended = time.perf_counter()
        return Reply(
            first - started, ended - started, last.generation_tokens, last.prompt_tokens, last.cached_tokens, text
        )

    def crowd(self, questions: list[str], max_tokens: int) -> Crowd:
        from mlx_vlm.generate import batch_generate

        started = time.perf_counter()
        stats = batch_generate(self._model, self._processor, prompts=questions, max_tokens=max_tokens).stats
        return Crowd(len(questions), stats.generation_tokens, time.perf_counter() - started, stats.generation_tps)


def asked(question: str) -> str:
    return f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"


def went_on(first: str, answer: str) -> str:
    return f"{first}{answer}<|im_end|>\n{asked(FURTHER)}"


def turns(program: Program, options: Options, pictures: list[str]) -> Iterator[list[Reply]]:
    """Two turns about each picture."""
    for picture in pictures:
        program.begin_conversation()
        first = asked(f"<image>{QUESTION}")
        reply = program.reply(first, [picture], options.max_tokens)
        yield [reply, program.reply(went_on(first, reply.text), [picture], options.max_tokens)]


def streams(program: Program, options: Options, counts: list[int]) -> Iterator[list[Crowd]]:
    """Each number of streams twice, with questions of their own."""
    for count in counts:
        verses = ("Write about", "Tell me a story of")
        questions = [[f"{verse} {topic}." for topic in TOPICS[:count]] for verse in verses]
        yield [program.crowd(each, options.max_tokens) for each in questions]


def guesses(program: Program, options: Options) -> Iterator[list[Reply]]:
    """An answer that repeats its prompt, and one that does not; before them one that makes the program warm."""
    program.reply(asked("Say hello."), [], 16)
    for question in (COPY, FREE):
        yield [program.reply(asked(question), [], options.max_tokens)]


def come_back(program: Program, options: Options, picture: str, answer: str) -> Iterator[list[Reply]]:
    """A conversation about a picture: its first turn where no `answer` to that is given, else the second."""
    first = asked(f"<image>{QUESTION}")
    yield [program.reply(went_on(first, answer) if answer else first, [picture], options.max_tokens)]


def open_blas(path: Path) -> None:
    """Before MLX, and for both programs with TBB's threads, which Fovea chooses by itself: on a machine that does
    something else too, MKL's own would make the other side look bad."""
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    library.MKL_Set_Interface_Layer(0)
    for runtime in sorted(path.parent.glob("libtbb.so.*"))[:1]:
        ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
        library.MKL_Set_Threading_Layer(4)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", choices=("fovea", "mlx-vlm"), required=True)
    parser.add_argument("--task", choices=("turns", "streams", "guesses", "come-back"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--pictures", nargs="*", default=[])
    parser.add_argument("--streams", type=int, nargs="*", default=[])
    parser.add_argument("--answer", default="")
    parser.add_argument("--disk", type=Path)
    parser.add_argument("--no-lookup", action="store_true")
    parser.add_argument("--blas", help="open this library before MLX")
    arguments = parser.parse_args()
    if arguments.blas:
        open_blas(Path(arguments.blas))
    options = Options(arguments.model, arguments.max_tokens, arguments.disk, not arguments.no_lookup)
    with closing((Fovea if arguments.program == "fovea" else MlxVlm)(options)) as program:
        work: dict[str, Any] = {
            "turns": lambda: turns(program, options, arguments.pictures),
            "streams": lambda: streams(program, options, arguments.streams),
            "guesses": lambda: guesses(program, options),
            "come-back": lambda: come_back(program, options, arguments.pictures[0], arguments.answer),
        }
        done = [[asdict(reply) for reply in replies] for replies in work[arguments.task]()]
    print(json.dumps(done))


if __name__ == "__main__":
    main()

"""One program's half of the comparison, run in that program's own environment: loads, answers, prints JSON.

Both halves are timed with the same clock, from the call to the token's arrival. Imports only the program asked for.
"""

import argparse
import ctypes
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

QUESTION = "Describe this picture in detail."


class Program(Protocol):
    def load(self, model: str) -> None: ...

    def answer(self, picture: str, max_tokens: int) -> Iterator[int]:
        """Yields how many tokens have arrived so far; afterwards `prompt_tokens` is that of this answer."""
        ...

    prompt_tokens: int


class Fovea:
    def __init__(self) -> None:
        # Fovea is installed without torch. The tests' environment has it, and transformers would import it: 3 s,
        # 250 MB, and threads that slow MLX down.
        sys.modules["torch"] = None  # type: ignore[assignment]
        from engine.api.settings import EngineSettings
        from engine.host import EngineHost

        self.prompt_tokens = 0
        self._host = EngineHost(EngineSettings())
        self._host.start()

    def load(self, model: str) -> None:
        from engine.api.request import LoadModel
        from engine.exchange import Exchange

        Exchange(self._host.client, LoadModel(model)).finish()

    def answer(self, picture: str, max_tokens: int) -> Iterator[int]:
        from engine.api.events import TextDelta
        from engine.api.request import GenerateRequest, Image, Message, Role, Text
        from engine.api.settings import SamplingSettings
        from engine.exchange import Exchange

        question = Message(Role.USER, (Image(Path(picture)), Text(QUESTION)))
        sampling = SamplingSettings(temperature=0.0)
        exchange = Exchange(self._host.client, GenerateRequest((question,), max_tokens, sampling=sampling))
        arrived = 0
        for event in exchange:
            if isinstance(event, TextDelta) and event.tokens:
                arrived += len(event.tokens)
                yield arrived
        self.prompt_tokens = exchange.finish().usage.prompt_tokens


class MlxVlm:
    def __init__(self) -> None:
        self.prompt_tokens = 0
        self._model: Any = None
        self._processor: Any = None

    def load(self, model: str) -> None:
        from mlx_vlm import load

        self._model, self._processor = load(model)

    def answer(self, picture: str, max_tokens: int) -> Iterator[int]:
        from mlx_vlm import apply_chat_template, stream_generate

        prompt = apply_chat_template(self._processor, self._model.config, QUESTION, num_images=1)
        pieces = stream_generate(
            self._model, self._processor, prompt, image=[picture], max_tokens=max_tokens, temperature=0.0
        )
        arrived = 0
        for piece in pieces:
            self.prompt_tokens = piece.prompt_tokens
            # The last piece flushes held-back text and brings no token.
            if piece.generation_tokens > arrived:
                arrived = piece.generation_tokens
                yield arrived


def measure(program: Program, picture: str, max_tokens: int) -> dict[str, float]:
    started = time.perf_counter()
    first = last = started
    count = 0
    for arrived in program.answer(picture, max_tokens):
        last = time.perf_counter()
        first = last if count == 0 else first
        count = arrived
    return {
        "ttft_s": first - started,
        "prompt_tps": program.prompt_tokens / (first - started),
        "generation_tps": (count - 1) / (last - first),
        "prompt_tokens": program.prompt_tokens,
        "completion_tokens": count,
    }


def peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", choices=("fovea", "mlx-vlm"), required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--pictures", nargs="+", required=True)
    parser.add_argument("--max-tokens", type=int, required=True)
    parser.add_argument("--blas", help="open this library before MLX")
    arguments = parser.parse_args()
    if arguments.blas:
        ctypes.CDLL(arguments.blas, mode=ctypes.RTLD_GLOBAL)
    program: Program = Fovea() if arguments.program == "fovea" else MlxVlm()
    program.load(arguments.model)
    answers = [measure(program, picture, arguments.max_tokens) for picture in arguments.pictures]
    print(json.dumps({"answers": answers, "peak_memory": peak_memory()}))


if __name__ == "__main__":
    main()

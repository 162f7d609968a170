"""What guessing that a text is repeated saves: `python benchmarks/lookup.py`.

The same questions with look-up and without, in turns, on two engines with the starter's language model or any other:
a summary that quotes its text, edits of code, the model's own and one as it ought to be, to which the answer is held,
and a story under a guard against repetition, where guesses are seldom right and little may be lost. Prints a Markdown
table, which `measure` returns as data. Tokens a second are those behind the first token.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from engine.device import open_blas

if __name__ == "__main__":
    # Fovea is installed without torch. The tests' environment has it, and transformers would import it.
    sys.modules["torch"] = None  # type: ignore[assignment]
# Before anything imports MLX.
open_blas()

from engine.api.events import Failed, Finished  # noqa: E402
from engine.api.request import GenerateRequest, LoadModel, Message, Role, Text  # noqa: E402
from engine.api.response_format import Choice  # noqa: E402
from engine.api.settings import EngineSettings, SamplingSettings, SpeculationSettings  # noqa: E402
from engine.client import EngineClient  # noqa: E402
from engine.exchange import Exchange  # noqa: E402
from engine.host import EngineHost  # noqa: E402
from engine.reply import Reply  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
TEXT = ROOT / "benchmarks" / "texts" / "the_first_lowering.txt"
CODE = ROOT / "engine" / "schedule" / "sequence.py"
ANSWER = 200
"""Tokens at most."""
CHARACTERS = 2400
"""Of the text."""
# The starter's own guard against going round in circles would keep it from writing lines that are alike.
REPEATS = SamplingSettings(temperature=0.0, no_repeat_ngram_size=0, repetition_penalty=1.0)


@dataclass(frozen=True, slots=True)
class Row:
    task: str
    tokens: int
    off: float
    """Tokens a second without."""
    on: float
    drafted: int
    accepted: int
    same: bool
    """Whether both answers are the same, token by token."""


def tasks() -> dict[str, GenerateRequest]:
    text, code = TEXT.read_text(encoding="utf-8")[:CHARACTERS], CODE.read_text(encoding="utf-8")
    quote = f"Quote the most important sentences of this text, word by word:\n\n{text}"
    edit = f"Write this Python module again, with `Phase` renamed to `Stage`:\n\n```python\n{code}```"
    edited = Choice((code.replace("Phase", "Stage"),))
    story = "Write a long story about a clockmaker who moves to an island."
    return {
        "a summary that quotes": _asked(quote, REPEATS),
        "an edit of code, by the model": _asked(edit, REPEATS),
        "an edit of code, as it ought to be": replace(_asked(edit, REPEATS), response_format=edited),
        "a story without repetition": _asked(story, SamplingSettings(temperature=0.0, no_repeat_ngram_size=3)),
    }


def _asked(question: str, sampling: SamplingSettings) -> GenerateRequest:
    message = Message(Role.USER, (Text(question),))
    return GenerateRequest((message,), max_tokens=ANSWER, sampling=sampling, logprobs=True)


def measure(source: str, requests: Mapping[str, GenerateRequest], most: int, runs: int) -> list[Row]:
    """One `Row` a request, medians of so many runs."""
    off = EngineSettings(speculation=SpeculationSettings(lookup=False))
    on = EngineSettings(speculation=SpeculationSettings(most=most))
    with ExitStack() as stack:
        engines = [stack.enter_context(EngineHost(settings)).client for settings in (off, on)]
        for client in engines:
            _finish(client, LoadModel(source))
        return [_row(engines, task, request, runs) for task, request in requests.items()]


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| answer | tokens | tok/s without | tok/s with look-up | faster | guessed | right | same tokens |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        right = f"{row.accepted / row.drafted:.0%}" if row.drafted else "-"
        lines.append(
            f"| {row.task} | {row.tokens} | {row.off:.1f} | {row.on:.1f} | {row.on / row.off:.2f} x "
            f"| {row.drafted} | {right} | {'yes' if row.same else 'no'} |"
        )
    return "\n".join(lines)


def _row(engines: Sequence[EngineClient], task: str, request: GenerateRequest, runs: int) -> Row:
    found = [[_finish(client, request) for client in engines] for _ in range(runs)]
    off, on = (median(reply.end.timings.generation_tps for reply in column) for column in zip(*found, strict=True))
    without, reply = found[-1]
    usage = reply.end.usage
    return Row(
        task,
        usage.completion_tokens,
        off,
        on,
        usage.drafted_tokens,
        usage.accepted_tokens,
        same=reply.token_ids == without.token_ids,
    )


def _finish(client: EngineClient, request: GenerateRequest | LoadModel) -> Reply:
    reply = Reply()
    with Exchange(client, request) as exchange:
        for event in exchange:
            if isinstance(event, Failed):
                raise event.to_error()
            reply.add(event)
    assert isinstance(reply.end, Finished)
    return reply


def main() -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="starter")
    parser.add_argument("--most", type=int, default=SpeculationSettings().most, help="tokens guessed at a time")
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    rows = measure(arguments.model, tasks(), arguments.most, arguments.runs)
    print(f"{arguments.model}, greedy, at most {arguments.most} tokens guessed at a time\n")
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()

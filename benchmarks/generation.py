"""Conversations, crowds and guesses beside mlx-vlm: `python benchmarks/generation.py`, or `make bench-generation`.

The same checkpoint in float32, the same fast BLAS, the same prompts, both programs in turns within one run; medians.
Second turns with a picture in the history, several answers at once, a start that finds yesterday's conversation on the
disk, and, of Fovea alone, guesses ahead and compressed caches. Needs what `peer.py` needs.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import peer

STREAMS = (1, 2, 4, 8)
PROGRAMS = ("fovea", "mlx-vlm")
TILED = 1024
"""The longest edge a picture is brought to: four tiles of 512 and the whole."""
SIDES = {"one tile": peer.ONE_TILE, "four tiles and the whole": TILED}

Done = list[list[dict[str, Any]]]
"""What a side printed: for each piece of a task, its replies."""


@dataclass(frozen=True)
class Run:
    """How a side is called."""

    blas: str | None
    rounds: int

    def in_turns(
        self, task: str, model: Path, *options: object, programs: tuple[str, ...] = PROGRAMS
    ) -> dict[str, Any]:
        """What each program did, a list of rounds. In turns, so that a machine slower for a while is so for both."""
        done: dict[str, list[Done]] = {program: [] for program in programs}
        for _ in range(self.rounds):
            for program in programs:
                done[program].append(self.side(program, task, model, *options))
        return done

    def side(self, program: str, task: str, model: Path, *options: object) -> Done:
        python = Path(sys.executable) if program == "fovea" else peer.ENVIRONMENT / "bin" / "python"
        command = [python, peer.ROOT / "benchmarks" / "generation_side.py", "--program", program, "--task", task]
        command += ["--model", model, *options, *(["--blas", self.blas] if self.blas else [])]
        print(f"  {task}, {program} ...", file=sys.stderr, flush=True)
        ended = subprocess.run(
            list(map(str, command)), check=False, capture_output=True, text=True, env=peer.with_engine()
        )
        if ended.returncode:
            raise SystemExit(f"{program} failed:\n{ended.stderr[-3000:]}")
        return json.loads(ended.stdout.strip().splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="starts of each program; numbers are medians over them")
    parser.add_argument("--pictures", type=int, default=3, help="conversations in a start; the first is the cold one")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--only", choices=("turns", "streams", "disk", "guesses", "kv"))
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    arguments = parser.parse_args()
    if not peer.GGUF.is_file():
        print("The starter model is not there: run `make setup` first.", file=sys.stderr)
        return 2
    peer.set_up_peer()
    run = Run(str(peer.fast_blas()) if sys.platform == "linux" else None, arguments.rounds)
    parts: dict[str, Callable[[], Any]] = {
        "turns": lambda: turns(run, arguments.pictures, arguments.max_tokens),
        "streams": lambda: streams(run, arguments.max_tokens),
        "disk": lambda: disk(run, arguments.max_tokens),
        "guesses": lambda: guesses(run, 2 * arguments.max_tokens),
        "kv": kv_quality,
    }
    measured = {name: part() for name, part in parts.items() if arguments.only in (None, name)}
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return 0


def model_of(longest_edge: int) -> Path:
    return peer.checkpoint(peer.Comparison("", "float32", longest_edge, same_blas=True))


def turns(run: Run, count: int, max_tokens: int) -> Any:
    """Time to the first token of both turns about a picture."""
    pictures, measured = peer.draw_pictures(count), {}
    for name, longest_edge in SIDES.items():
        options = ("--max-tokens", min(max_tokens, 32), "--pictures", *pictures)
        done = measured[name] = run.in_turns("turns", model_of(longest_edge), *options)
        tokens = {program: rounds[0][0][1]["prompt_tokens"] for program, rounds in done.items()}
        heading(f"Second turn with a picture in the history ({name}; prompt of {tokens['fovea']} tokens)")
        table_of("", "first turn, s", "second turn, s", "second / first", "found computed")
        for program, rounds in done.items():
            for warmth, chosen in (("cold", slice(0, 1)), ("warm", slice(1, None))):
                pairs = [pair for conversations in rounds for pair in conversations[chosen]]
                first, second = (median(pair[turn]["ttft_s"] for pair in pairs) for turn in (0, 1))
                ratio = median(pair[1]["ttft_s"] / pair[0]["ttft_s"] for pair in pairs)
                found = median(pair[1]["cached_tokens"] / pair[1]["prompt_tokens"] for pair in pairs)
                row(f"{program}, {warmth}", f"{first:.3f}", f"{second:.3f}", f"{ratio:.1%}", f"{found:.0%}")
    return measured


def streams(run: Run, max_tokens: int) -> Any:
    """Tokens a second of several answers at once."""
    done = run.in_turns(
        "streams", model_of(peer.ONE_TILE), "--max-tokens", max_tokens, "--no-lookup", "--streams", *STREAMS
    )
    for title, read in (
        (
            "Tokens a second of all streams, from the call to the last token",
            lambda crowd: crowd["tokens"] / crowd["total_s"],
        ),
        ("Tokens a second of all streams, once every prompt has been read", lambda crowd: crowd["decode_tps"]),
    ):
        heading(title)
        table_of("streams", "Fovea, cold", "Fovea, warm", "mlx-vlm, cold", "mlx-vlm, warm", "Fovea is, warm")
        for number, count in enumerate(STREAMS):
            speeds = [
                median(read(crowds[number][warmth]) for crowds in done[program])
                for program in PROGRAMS
                for warmth in (0, 1)
            ]
            row(str(count), *(f"{speed:.1f}" for speed in speeds), f"{speeds[1] / speeds[3]:.2f}x")
    return done


def disk(run: Run, max_tokens: int) -> Any:
    """Time to the first token when a program has just been started and its conversation was begun by another start."""
    (picture,), model = peer.draw_pictures(1), model_of(TILED)
    options = ("--max-tokens", min(max_tokens, 32), "--pictures", picture)
    measured: dict[str, dict[str, list[float]]] = {
        program: {"new": [], "disk": [], "found": []} for program in PROGRAMS
    }
    for _ in range(run.rounds):
        for program in PROGRAMS:
            folder = peer.SCRATCH / f"disk-{program}"
            shutil.rmtree(folder, ignore_errors=True)
            answer = run.side(program, "come-back", model, *options, "--disk", folder)[0][0]["text"]
            again = (*options, "--answer", answer)
            new = run.side(program, "come-back", model, *again)[0][0]
            found = run.side(program, "come-back", model, *again, "--disk", folder)[0][0]
            measured[program]["new"].append(new["ttft_s"])
            measured[program]["disk"].append(found["ttft_s"])
            measured[program]["found"].append(found["cached_tokens"] / found["prompt_tokens"])
            shutil.rmtree(folder)
    heading("Going on with a conversation about a picture after a new start")
    table_of("", "without the disk, s", "from the disk, s", "disk / without", "found computed")
    for program, kept in measured.items():
        without, restored, found = (median(kept[name]) for name in ("new", "disk", "found"))
        row(program, f"{without:.3f}", f"{restored:.3f}", f"{restored / without:.1%}", f"{found:.0%}")
    return measured


def guesses(run: Run, max_tokens: int) -> Any:
    """What guessing by what was said before brings, of Fovea alone: mlx-vlm has no such guesses."""
    model, options = model_of(peer.ONE_TILE), ("--max-tokens", max_tokens)
    done: dict[str, list[Done]] = {"with": [], "without": []}
    for _ in range(run.rounds):
        done["with"].append(run.side("fovea", "guesses", model, *options))
        done["without"].append(run.side("fovea", "guesses", model, *options, "--no-lookup"))
    heading("Guessing ahead by what was said before (Fovea, one stream)")
    table_of("", "without, tokens/s", "with, tokens/s", "with is", "guessed right")
    for number, name in enumerate(("an answer that repeats its prompt", "a story")):
        speed = {kind: median(speed_of(replies[number][0]) for replies in rounds) for kind, rounds in done.items()}
        texts = {rounds[0][number][0]["text"] for rounds in done.values()}
        if len(texts) > 1:
            raise SystemExit("the answers differ with guesses and without")
        last = done["with"][-1][number][0]
        right = f"{last['accepted']} of {last['drafted']}"
        row(name, f"{speed['without']:.1f}", f"{speed['with']:.1f}", f"{speed['with'] / speed['without']:.2f}x", right)
    return done


def speed_of(reply: dict[str, Any]) -> float:
    return (reply["tokens"] - 1) / (reply["end_s"] - reply["ttft_s"])


def kv_quality() -> Any:
    """`kv_quality.py` says it best itself."""
    heading("What compressed KV caches cost (Fovea)")
    done = subprocess.run(
        [sys.executable, peer.ROOT / "benchmarks" / "kv_quality.py"],
        check=True,
        capture_output=True,
        text=True,
        env=peer.with_engine(),
    )
    print(done.stdout, flush=True)
    return done.stdout


def heading(title: str) -> None:
    print(f"\n### {title}\n", flush=True)


def table_of(*columns: str) -> None:
    row(*columns)
    row("---", *(["---:"] * (len(columns) - 1)))


def row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())

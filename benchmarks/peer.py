"""Fovea beside mlx-vlm on one checkpoint and the same pictures: `python benchmarks/peer.py`, or `make bench-peer`.

Two comparisons: both programs as they install by default, with the checkpoint in bfloat16 as such models are published;
and both in float32 with the same fast BLAS. Needs the starter model (`make setup`) and, the first time, the network.
The machine should have nothing else to do.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PEER = "mlx-vlm==0.7.10"
ENVIRONMENT = ROOT / ".venv-peer"
SCRATCH = ROOT / ".peer"
GGUF = ROOT / "resources" / "starter" / "base" / "SmolLM2-135M-Instruct.Q4_1.gguf"
PHOTO = ROOT / "resources" / "samples" / "cat.jpg"

ONE_TILE, SPLIT = 512, 2048
"""The longest edge a picture is brought to: one tile of 512, or twelve and the whole."""


@dataclass(frozen=True)
class Comparison:
    title: str
    dtype: str
    longest_edge: int
    same_blas: bool


@dataclass(frozen=True)
class Row:
    name: str
    unit: str
    fovea: float
    peer: float
    less_is_better: bool = True

    @property
    def ratio(self) -> float:
        """How many times better Fovea is; below 1 it is worse."""
        return self.peer / self.fovea if self.less_is_better else self.fovea / self.peer


COMPARISONS = (
    Comparison("As installed by default (bfloat16 checkpoint, one tile)", "bfloat16", ONE_TILE, same_blas=False),
    Comparison("Same fast BLAS, float32, one tile", "float32", ONE_TILE, same_blas=True),
    Comparison("Same fast BLAS, float32, picture split into tiles", "float32", SPLIT, same_blas=True),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--pictures", type=int, default=4, help="the first is the cold one, the others give a median")
    parser.add_argument("--rounds", type=int, default=3, help="starts of each program; rows are medians over them")
    parser.add_argument("--only", type=int, choices=range(1, len(COMPARISONS) + 1), help="one comparison alone")
    parser.add_argument("--json", type=Path, help="write all that was measured to this file")
    arguments = parser.parse_args()
    if not GGUF.is_file():
        print("The starter model is not there: run `make setup` first.", file=sys.stderr)
        return 2
    set_up_peer()
    pictures = draw_pictures(arguments.pictures)
    chosen = COMPARISONS if arguments.only is None else COMPARISONS[arguments.only - 1 : arguments.only]
    measured = {}
    for comparison in chosen:
        rows = compare(comparison, pictures, arguments.max_tokens, arguments.rounds)
        print_table(comparison.title, rows)
        measured[comparison.title] = [{**vars(row), "ratio": row.ratio} for row in rows]
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    return 0


def set_up_peer() -> None:
    stamp = ENVIRONMENT / PEER
    if stamp.exists():
        return
    print(f"Installing {PEER} into {ENVIRONMENT.name} ...", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
    # On Linux MLX brings no back end by itself; the same release as ours, so that the frameworks are equal.
    wanted = [PEER, "mlx[cpu]==0.32.4" if sys.platform == "linux" else "mlx==0.32.4"]
    install = [ENVIRONMENT / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, *wanted], check=True)
    stamp.touch()


def draw_pictures(count: int) -> list[Path]:
    """Different pictures of one size, so that no cache of either program can answer for another."""
    SCRATCH.mkdir(exist_ok=True)
    photo = Image.open(PHOTO).convert("RGB")
    paths = []
    for number in range(count):
        path = SCRATCH / f"picture-{number}.png"
        photo.rotate(7 * number, expand=False).resize((640, 480)).save(path)
        paths.append(path)
    return paths


def compare(comparison: Comparison, pictures: list[Path], max_tokens: int, rounds: int) -> list[Row]:
    model = checkpoint(comparison)
    blas = str(fast_blas()) if comparison.same_blas and sys.platform == "linux" else None
    fovea, peer = [], []
    # In turns, so that a machine that is slower for a while is so for both.
    for _ in range(rounds):
        fovea.append(run_side("fovea", Path(sys.executable), model, pictures, max_tokens, blas))
        peer.append(run_side("mlx-vlm", ENVIRONMENT / "bin" / "python", model, pictures, max_tokens, blas))
        check_equal_work(fovea[-1]["answers"], peer[-1]["answers"], max_tokens)

    def both(name: str, unit: str, read: Callable[[dict[str, Any]], float], less_is_better: bool = True) -> Row:
        return Row(name, unit, median(map(read, fovea)), median(map(read, peer)), less_is_better)

    def warm(key: str) -> Callable[[dict[str, Any]], float]:
        return lambda side: median(answer[key] for answer in side["answers"][1:] or side["answers"])

    return [
        both("load, start of Python included", "s", lambda side: side["load_s"]),
        both("first token, first picture", "s", lambda side: side["answers"][0]["ttft_s"]),
        both("first token, later pictures", "s", warm("ttft_s")),
        both("prompt", "tokens/s", warm("prompt_tps"), less_is_better=False),
        both("generation", "tokens/s", warm("generation_tps"), less_is_better=False),
        both("peak memory", "MB", lambda side: side["peak_memory"] / 1e6),
    ]


def checkpoint(comparison: Comparison) -> Path:
    folder = SCRATCH / f"{comparison.dtype}-{comparison.longest_edge}"
    if not (folder / "complete").exists():
        script = ROOT / "benchmarks" / "peer_checkpoint.py"
        arguments = [GGUF, folder, comparison.dtype, str(comparison.longest_edge)]
        subprocess.run([sys.executable, script, *arguments], check=True, env=with_engine())
        (folder / "complete").touch()
    return folder


def run_side(
    program: str, python: Path, model: Path, pictures: list[Path], max_tokens: int, blas: str | None
) -> dict[str, Any]:
    command = [python, ROOT / "benchmarks" / "peer_side.py", "--program", program, "--model", model]
    command += ["--max-tokens", str(max_tokens), *(["--blas", blas] if blas else []), "--pictures", *pictures]
    print(f"  {program} ...", file=sys.stderr, flush=True)
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=with_engine())
    if done.returncode:
        raise SystemExit(f"{program} failed:\n{done.stderr[-3000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    answering = sum(answer["ttft_s"] for answer in result["answers"])
    answering += sum((answer["completion_tokens"] - 1) / answer["generation_tps"] for answer in result["answers"])
    # What is left of the wall clock: starting Python, importing, loading.
    result["load_s"] = time.perf_counter() - started - answering
    return result


def check_equal_work(fovea: list[dict[str, Any]], peer: list[dict[str, Any]], max_tokens: int) -> None:
    for ours, theirs in zip(fovea, peer, strict=True):
        if ours["prompt_tokens"] != theirs["prompt_tokens"]:
            raise SystemExit(f"prompts differ: {ours['prompt_tokens']} tokens and {theirs['prompt_tokens']}")
        if not ours["completion_tokens"] == theirs["completion_tokens"] == max_tokens:
            raise SystemExit(f"answers differ: {ours['completion_tokens']} and {theirs['completion_tokens']} tokens")


def print_table(title: str, rows: list[Row]) -> None:
    print(f"\n{title}\n")
    print(f"| {'':<30} | {'Fovea':>8} | {'mlx-vlm':>8} | {'unit':<8} | {'Fovea is':>8} |")
    print(f"|{'-' * 32}|{'-' * 9}:|{'-' * 9}:|{'-' * 10}|{'-' * 9}:|")
    for row in rows:
        print(
            f"| {row.name:<30} | {row.fovea:8.2f} | {row.peer:8.2f} | {row.unit:<8} | {row.ratio:7.2f}x |", flush=True
        )


def fast_blas() -> Path:
    """The MKL that is installed with Fovea; the peer gets the same file."""
    found = sorted(Path(sys.prefix, "lib").glob("libmkl_rt.so*"))
    if not found:
        raise SystemExit("This comparison needs MKL: `make setup` installs it on Linux x86-64.")
    return found[-1]


def with_engine() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}


if __name__ == "__main__":
    raise SystemExit(main())

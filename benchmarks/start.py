"""How long the window takes to appear: `python benchmarks/start.py`, or `make bench-start`.

Each start is a process of its own, clocked by the app from the start of that process. Without a display Qt draws
offscreen, where nobody sees it but the same work is done.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
TARGET_MS = 1500


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    platform = choose_platform()
    times = [start_once(platform) for _ in range(runs)]
    print(f"window after {median(times):.0f} ms (median of {runs}: {', '.join(f'{each:.0f}' for each in times)})")
    print(f"target: {TARGET_MS} ms; platform: {platform or 'native'}")
    return 0 if median(times) < TARGET_MS else 1


def choose_platform() -> str | None:
    chosen = os.environ.get("QT_QPA_PLATFORM")
    shown = sys.platform != "linux" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return chosen or (None if shown else "offscreen")


def start_once(platform: str | None) -> float:
    environ = os.environ | ({"QT_QPA_PLATFORM": platform} if platform else {})
    command = [sys.executable, "-m", "app", "--report-start"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise SystemExit(f"The app did not start:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])["window_ms"]


if __name__ == "__main__":
    raise SystemExit(main())

"""What `make run` starts: the window where one can be opened, else the same job in the terminal.

Knows nothing of the app beyond its command. What stands in a window's way is said, with the remedy where there is one.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from qt_libraries import missing_libraries, remedy

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "resources" / "samples" / "cat.jpg"
QUESTION = "What is this?"

INVISIBLE = ("offscreen", "minimal", "vnc")
"""Qt platforms without a window that anybody sees."""

PROBE = "from PySide6.QtWidgets import QApplication; QApplication([])"


def find_obstacle(
    environ: Mapping[str, str],
    platform: str,
    missing: Callable[[], list[str]],
    probe: Callable[[], str | None],
) -> str | None:
    """Why no window can be opened here; `None` when one can. `probe` tries, and returns what went wrong."""
    reasons = []
    shown = environ.get("QT_QPA_PLATFORM", "").partition(":")[0]
    if shown in INVISIBLE:
        reasons.append(f"QT_QPA_PLATFORM={shown} asks for windows that nobody sees.")
    elif platform == "linux" and not (environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")):
        reasons.append("There is no display here (neither DISPLAY nor WAYLAND_DISPLAY is set).")
    if lacking := missing():
        reasons.append(remedy(lacking))
    if not reasons and (failure := probe()):
        reasons.append(f"Qt cannot open a window here: {failure}")
    return "\n".join(reasons) or None


def try_a_window() -> str | None:
    """Connect to the display in a process of its own: where that fails, Qt aborts."""
    tried = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    if tried.returncode == 0:
        return None
    said = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
    return said[0] if said else f"it ended with status {tried.returncode}."


def main() -> int:
    commands = Path(sys.executable).parent
    obstacle = find_obstacle(os.environ, sys.platform, missing_libraries, try_a_window)
    if obstacle is None:
        app = str(commands / "fovea-app")
        os.execv(app, [app])
    print(f"{obstacle}\nSo here is the same job in the terminal:\n", file=sys.stderr)
    arguments = ["generate", "--model", "starter", "--image", str(SAMPLE.relative_to(ROOT)), "--prompt", QUESTION]
    shown = [f'"{word}"' if " " in word else word for word in arguments]
    print("    fovea " + " ".join(shown) + "\n", file=sys.stderr, flush=True)
    return subprocess.run([commands / "fovea", *arguments], cwd=ROOT).returncode


if __name__ == "__main__":
    raise SystemExit(main())

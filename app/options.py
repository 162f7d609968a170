"""What can be said on the command line of `fovea-app`.

Knows nothing of Qt, so that `--help` answers at once.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TINY = "tiny"
"""The engine's own random model, written when it is asked for."""


@dataclass(frozen=True, slots=True)
class Options:
    pictures: tuple[Path, ...] = ()
    model: str | None = None
    """Load this one instead of the one used last."""
    selftest: bool = False
    selftest_model: str = TINY
    report_start: bool = False


def parse_options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="fovea-app", description="Drop a picture or a clip on the window, ask, and watch the answer stream in."
    )
    parser.add_argument("pictures", metavar="FILE", nargs="*", type=Path, help="attach this picture or clip")
    parser.add_argument("--model", help="a folder, a Hub repository on this machine, or 'starter'")
    parser.add_argument("--selftest", action="store_true", help="check this installation, print a JSON report, exit")
    parser.add_argument(
        "--selftest-model",
        metavar="MODEL",
        default=TINY,
        help="the model --selftest asks; by default a tiny random one, 'starter' for a real answer",
    )
    parser.add_argument(
        "--report-start", action="store_true", help="print how long the window took to appear, as JSON, and exit"
    )
    found = parser.parse_args(arguments)
    return Options(tuple(found.pictures), found.model, found.selftest, found.selftest_model, found.report_start)

"""`fovea-app`: opens the window, or checks the installation.

Knows nothing of either; imports Qt only once it is clear that there is somewhere to draw.
"""

import os
import sys
from collections.abc import Mapping, Sequence

from app.options import parse_options
from engine.api.errors import EngineError
from engine.environment import keep_torch_out, settings_from_environment, with_disk_cache

INVISIBLE = ("offscreen", "minimal", "vnc")
"""Qt platforms that need no display."""


def run() -> int:
    """What the `fovea-app` script calls."""
    keep_torch_out(sys.modules)
    return main()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_options(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = settings_from_environment(os.environ)
    except EngineError as error:
        print(error, file=sys.stderr)
        return error.fault.value
    if options.selftest:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        from app.selftest import run_selftest

        return run_selftest(options.selftest_model, settings)
    if not has_display(os.environ, sys.platform):
        # Qt would abort the process.
        print("There is no display to open a window on. Use `fovea chat` in this terminal instead.", file=sys.stderr)
        return 2
    from app.application import run

    return run(options, with_disk_cache(settings, os.environ, sys.platform))


def has_display(environ: Mapping[str, str], platform: str) -> bool:
    if platform != "linux" or environ.get("QT_QPA_PLATFORM", "").partition(":")[0] in INVISIBLE:
        return True
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


if __name__ == "__main__":
    sys.exit(run())

"""The system libraries that Qt needs on Linux and does not bring along: which of them are missing, and the one line
that installs them.

Found by trying on a bare Debian 12; Ubuntu has them under the same names. A Mac needs none. Run as a script it tells,
and with `--install` calls apt-get where it may.
"""

import ctypes
import os
import shutil
import subprocess
import sys

PACKAGES = {
    "libGL.so.1": "libgl1",
    "libEGL.so.1": "libegl1",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libdbus-1.so.3": "libdbus-1-3",
    "libfontconfig.so.1": "libfontconfig1",
    "libgssapi_krb5.so.2": "libgssapi-krb5-2",
    "libpulse.so.0": "libpulse0",
    "libxcb-cursor.so.0": "libxcb-cursor0",
    "libxcb-icccm.so.4": "libxcb-icccm4",
    "libxcb-keysyms.so.1": "libxcb-keysyms1",
    "libxcb-shape.so.0": "libxcb-shape0",
    "libxkbcommon-x11.so.0": "libxkbcommon-x11-0",
}
"""Library -> Debian package. What else Qt's libraries want comes with these."""

FONT = "fonts-dejavu-core"
"""Qt brings no font, and a bare system has none."""

INSTALL = f"apt-get install -y --no-install-recommends {' '.join(PACKAGES.values())} {FONT}"


def missing_libraries() -> list[str]:
    """Those that cannot be opened here; none anywhere but on Linux."""
    return [library for library in PACKAGES if not _opens(library)] if sys.platform == "linux" else []


def remedy(missing: list[str]) -> str:
    """What to tell a person whose system lacks these."""
    return (
        f"Qt needs system libraries that are not here ({', '.join(missing)}). On Debian and Ubuntu:\n\n"
        f"    sudo {INSTALL}\n"
    )


def _opens(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def main(arguments: list[str]) -> int:
    missing = missing_libraries()
    if not missing:
        return 0
    if "--install" in arguments and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"Installing the system libraries that Qt needs: {', '.join(missing)}", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=False)
        return subprocess.run(INSTALL.split(), env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"}).returncode
    print(remedy(missing), file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

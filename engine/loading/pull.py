"""Downloads a repository from the Hugging Face Hub into its cache: only what a model needs, resumable, cancellable.

Knows nothing of models beyond the names of their files. Blocks; whoever calls has a thread for it.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError, DiskError
from engine.api.settings import EngineSettings
from engine.loading.hub_errors import malformed, translated
from engine.loading.transfer import Transfer, fetch
from engine.sizes import format_size

log = logging.getLogger(__name__)

SERVICE, USER = "fovea", "huggingface"
"""Under which the system's keychain holds the Hub token."""

Report = Callable[[int, int], None]
"""Bytes that are here, and bytes in total."""

_KINDS = (".json", ".safetensors", ".jinja", ".model", ".tiktoken", ".txt")


class PullCancelled(Exception):
    """Raised by `pull` when `cancelled` said so; what was fetched stays for the next time."""


@dataclass(frozen=True, slots=True)
class _File:
    name: str
    size: int
    sha256: str | None
    """Of large files, which the Hub stores by it; small ones are fetched without."""


def pull(
    repo_id: str, revision: str | None, settings: EngineSettings, report: Report, cancelled: Callable[[], bool]
) -> Path:
    """The folder with the repository's files, fetched unless they are here.

    Raises `HubError` (no network, no such repository, gated), `DiskError`, `CheckpointError` for a repository without
    loadable weights, `PullCancelled`.
    """
    from huggingface_hub import HfApi, snapshot_download

    check_id(repo_id)
    token = hub_token(settings)
    with translated(repo_id):
        info = HfApi(token=token).model_info(repo_id, revision=revision, files_metadata=True)
        files = _wanted(repo_id, info)
        blobs = repository(repo_id, settings) / "blobs"
        progress = _Progress(sum(file.size for file in files), report, cancelled)
        _check_space(repo_id, files, blobs)
        for file in (file for file in files if file.sha256 is not None):
            progress.begin(file)
            fetch(_transfer(repo_id, info.sha, file, blobs, token), progress.advance)
        progress.check()
        # The small files, and the cache's links to the large ones.
        folder = snapshot_download(
            repo_id,
            revision=revision,
            cache_dir=cache_of(settings),
            token=token,
            allow_patterns=[file.name for file in files],
            tqdm_class=_silent_bar(),
        )
    progress.finish()
    return Path(folder)


def cache_of(settings: EngineSettings) -> Path:
    if settings.hub_cache is not None:
        return settings.hub_cache
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def repository(repo_id: str, settings: EngineSettings) -> Path:
    """Where the Hub's cache keeps a repository."""
    return cache_of(settings) / f"models--{repo_id.replace('/', '--')}"


def check_id(repo_id: str) -> None:
    """Raises `HubError` for what cannot be the name of a repository."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise malformed(repo_id) from error


def hub_token(settings: EngineSettings) -> str | None:
    """From the settings, else from the system's keychain; `None` leaves it to the Hub's own library."""
    if settings.hub_token:
        return settings.hub_token
    import keyring
    from keyring.errors import KeyringError

    try:
        return keyring.get_password(SERVICE, USER)
    except (KeyringError, RuntimeError, OSError) as error:
        log.info("The keychain cannot be asked for a Hub token: %s", error)
        return None


def _wanted(repo_id: str, info: Any) -> list[_File]:
    """Configs, weights, tokenizer and templates at the top of the repository, and no second copy of the weights."""
    files = [
        _File(sibling.rfilename, sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None)
        for sibling in info.siblings or ()
        if sibling.rfilename.endswith(_KINDS) and "/" not in sibling.rfilename
    ]
    weights = {file.name for file in files if file.name.endswith(".safetensors")}
    if not weights:
        raise CheckpointError(
            f"{repo_id} has no .safetensors weights.",
            "Choose a version of the model in that format; the mlx-community organisation on the Hub has many.",
        )
    second_copy = {name for name in weights if name.startswith("consolidated")}
    return [file for file in files if file.name not in second_copy or weights == second_copy]


def _check_space(repo_id: str, files: list[_File], blobs: Path) -> None:
    place = next(path for path in blobs.absolute().parents if path.is_dir())
    held = sum(_held(file, blobs) for file in files)
    needed, free = sum(file.size for file in files) - held, shutil.disk_usage(place).free
    if needed > free:
        raise DiskError(
            f"{repo_id} needs {format_size(needed)} more on the disk, and {format_size(free)} are free in {place}.",
            "Free some space, remove a model (`fovea models remove`), or choose a smaller or a 4-bit version.",
        )


def _held(file: _File, blobs: Path) -> int:
    if file.sha256 is None:
        return 0
    paths = (blobs / file.sha256, blobs / f"{file.sha256}.incomplete")
    return next((path.stat().st_size for path in paths if path.is_file()), 0)


def _transfer(repo_id: str, commit: str, file: _File, blobs: Path, token: str | None) -> Transfer:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.utils import build_hf_headers

    url = hf_hub_url(repo_id, file.name, revision=commit)
    return Transfer(url, build_hf_headers(token=token), blobs / str(file.sha256), file.size, str(file.sha256))


def _silent_bar() -> type:
    """The Hub's progress bar, shown to nobody."""
    from huggingface_hub.utils import tqdm

    class SilentBar(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

    return SilentBar


class _Progress:
    """Bytes of the whole repository, out of those of single files."""

    def __init__(self, total: int, report: Report, cancelled: Callable[[], bool]) -> None:
        self._total, self._report, self._cancelled = total, report, cancelled
        self._before = self._size = 0

    def begin(self, file: _File) -> None:
        self._before, self._size = self._before + self._size, file.size
        self.advance(0)

    def advance(self, done: int) -> None:
        """`done` bytes of the file that was begun last are here."""
        self.check()
        self._report(self._before + done, self._total)

    def check(self) -> None:
        if self._cancelled():
            raise PullCancelled

    def finish(self) -> None:
        self._report(self._total, self._total)

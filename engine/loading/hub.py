"""Models on this machine: a name to a folder, the list of all, and deleting one. `pull` brings more.

Knows nothing of what is in a model beyond whether it could be loaded. Only `pull` uses the network.
"""

import re
import shutil
from pathlib import Path

from engine.api.errors import CheckpointError, DiskError, EngineError, HubError, RequestError
from engine.api.events import LocalModel
from engine.api.settings import EngineSettings
from engine.loading.config import read_config
from engine.loading.pull import cache_of, check_id, pull, repository
from engine.loading.starter import missing_files, starter_folder
from engine.loading.weights import weight_files

__all__ = ["local_models", "pull", "remove_model", "resolve"]

STARTER = "starter"


def resolve(source: str, settings: EngineSettings, revision: str | None = None) -> Path:
    """The folder that `source` stands for: `starter`, a folder, or a repository in the Hub cache, there of `revision`
    (a branch, a tag or a commit) where one is named.

    Raises `HubError` for a repository that would have to be pulled first, `CheckpointError` for what is no model.
    """
    if source == STARTER:
        return _starter(settings)
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise CheckpointError(f"{path} is a file; a model is a folder.", f"Perhaps {path.absolute().parent} is meant.")
    if _looks_like_path(source):
        raise CheckpointError(f"There is no folder {path}.", "Check its name, and whether its disk is connected.")
    check_id(source)
    repo = repository(source, settings)
    if (snapshot := _revision(repo, revision) if revision else _snapshot(repo)) is not None:
        return snapshot
    begun = " completely" if repo.is_dir() else ""
    named = f" in its revision {revision}" if revision else ""
    raise HubError(
        f"{source} is not{begun} on this machine{named}.",
        f"Download it with `fovea models pull {source}`, or give a folder.",
        code="not_downloaded",
    )


def local_models(settings: EngineSettings) -> tuple[LocalModel, ...]:
    """The starter, then what is in the Hub cache by name, each with what stands against loading it."""
    folder = starter_folder(settings.resources)
    starter = LocalModel(STARTER, str(folder), _model_type(folder), _size(folder), _starter_problem(folder))
    repositories = sorted(cache_of(settings).glob("models--*"), key=lambda path: path.name.lower())
    return (starter, *(_local_model(repo) for repo in repositories if repo.is_dir()))


def remove_model(repo_id: str, settings: EngineSettings) -> None:
    """Delete a repository from the Hub cache, begun downloads included."""
    if repo_id == STARTER or _looks_like_path(repo_id) or Path(repo_id).expanduser().is_dir():
        raise RequestError(
            f"{repo_id} is not deleted: only downloaded models are.", "Delete a folder of your own in the file manager."
        )
    check_id(repo_id)
    repo = repository(repo_id, settings)
    if not repo.is_dir():
        raise HubError(f"{repo_id} is not on this machine.", "`fovea models list` shows what is.")
    try:
        shutil.rmtree(repo)
    except OSError as error:
        raise DiskError(f"{repo} cannot be deleted: {error.strerror}.", "Check who owns the folder.") from error
    shutil.rmtree(repo.parent / ".locks" / repo.name, ignore_errors=True)


def _starter(settings: EngineSettings) -> Path:
    folder = starter_folder(settings.resources)
    if problem := _starter_problem(folder):
        raise CheckpointError(problem, "Run `make setup`, which downloads what is missing.")
    return folder


def _starter_problem(folder: Path) -> str:
    missing = missing_files(folder)
    return f"The starter model is not complete: {missing[0]} is missing from {folder}." if missing else ""


def _looks_like_path(source: str) -> bool:
    return source.startswith(("/", ".", "~")) or "\\" in source or source.count("/") > 1 or source.endswith("/")


def _snapshot(repo: Path) -> Path | None:
    """The files of the branch `main`, else the latest ones."""
    snapshots = [path for path in repo.glob("snapshots/*") if (path / "config.json").is_file()]
    main = repo / "refs" / "main"
    commit = main.read_text(encoding="utf-8").strip() if main.is_file() else ""
    latest = sorted(snapshots, key=lambda path: (path.name == commit, path.stat().st_mtime))
    return latest[-1] if latest else None


def _revision(repo: Path, revision: str) -> Path | None:
    """The files of a branch, a tag or a commit, as the cache knows them."""
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", revision) or ".." in revision:
        raise RequestError(f"{revision!r} is no revision.", "Give a branch, a tag or a commit.")
    reference = repo / "refs" / revision
    commit = reference.read_text(encoding="utf-8").strip() if reference.is_file() else revision
    folder = repo / "snapshots" / commit
    return folder if (folder / "config.json").is_file() else None


def _local_model(repo: Path) -> LocalModel:
    source = repo.name.removeprefix("models--").replace("--", "/")
    snapshot = _snapshot(repo)
    if snapshot is None:
        return LocalModel(source, str(repo), "", _size(repo), "It has no config.json, or its download is not complete.")
    return LocalModel(source, str(snapshot), _model_type(snapshot), _size(repo), _problem(snapshot))


def _model_type(folder: Path) -> str:
    try:
        return read_config(folder)["model_type"]
    except CheckpointError:
        return ""


def _problem(folder: Path) -> str:
    from engine.models.registry import find_family

    try:
        find_family(read_config(folder))
        weight_files(folder)
    except EngineError as error:
        return error.message
    return ""


def _size(folder: Path) -> int:
    """Bytes on the disk; the links of a snapshot count for nothing, their blobs do."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())

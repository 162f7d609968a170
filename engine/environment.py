"""The engine's settings as the environment's variables give them.

The only reader of the environment, and what a process of Fovea's own makes of it. Called once by each front's
composition root; knows nothing of what the settings do.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.api.errors import RequestError
from engine.api.settings import EngineSettings
from engine.sizes import parse_size


def settings_from_environment(environ: Mapping[str, str]) -> EngineSettings:
    """From `HF_HUB_CACHE` or `HF_HOME`, `HF_TOKEN`, `FOVEA_RESOURCES`, `FOVEA_MEMORY_LIMIT`; empty is unset."""
    return EngineSettings(
        hub_cache=_hub_cache(environ),
        hub_token=environ.get("HF_TOKEN") or None,
        resources=_resources(environ),
        memory_limit=_memory_limit(environ),
    )


def keep_torch_out(modules: MutableMapping[str, Any]) -> None:
    """For a process of Fovea's own, with `sys.modules`: PyTorch counts as not installed.

    Fovea never uses it, but transformers imports it wherever it finds it, as the tests' environment has it. That costs
    seconds and 270 MB, and its threads made decoding half as fast.
    """
    for name in ("torch", "torchvision"):
        modules.setdefault(name, None)


def with_disk_cache(settings: EngineSettings, environ: Mapping[str, str], platform: str) -> EngineSettings:
    """Prompts and answers kept below the user's cache folder, for programs that somebody comes back to."""
    return replace(settings, cache=replace(settings.cache, disk_dir=cache_folder(environ, platform) / "prefixes"))


def cache_folder(environ: Mapping[str, str], platform: str) -> Path:
    """`FOVEA_CACHE`, else where the system keeps what can be made again; `platform` is `sys.platform`."""
    if chosen := environ.get("FOVEA_CACHE"):
        return Path(chosen).expanduser()
    home = Path(environ.get("HOME") or Path.home())
    if platform == "darwin":
        return home / "Library" / "Caches" / "Fovea"
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "fovea"


def is_offline(environ: Mapping[str, str]) -> bool:
    """Whether `HF_HUB_OFFLINE` forbids downloads, with the spellings the Hub's own library takes for yes."""
    return environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _hub_cache(environ: Mapping[str, str]) -> Path | None:
    if cache := environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    if home := environ.get("HF_HOME"):
        return Path(home).expanduser() / "hub"
    return None


def _resources(environ: Mapping[str, str]) -> Path:
    if chosen := environ.get("FOVEA_RESOURCES"):
        return Path(chosen).expanduser()
    # A packaged app's launcher says where its own Resources folder is.
    if bundle := environ.get("RESOURCEPATH"):
        return Path(bundle) / "resources"
    return Path(__file__).resolve().parent.parent / "resources"


def _memory_limit(environ: Mapping[str, str]) -> int | None:
    written = environ.get("FOVEA_MEMORY_LIMIT")
    if not written:
        return None
    try:
        return parse_size(written)
    except ValueError as error:
        raise RequestError(
            f"FOVEA_MEMORY_LIMIT is {written!r}, which is not a size.", 'Write it like "8GB", or unset it.'
        ) from error

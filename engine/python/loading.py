"""`load` and `load_config`: a model on an engine of its own, and what belongs to it.

MLX arrays are bound to the engine's thread, so what a caller holds are handles. Knows nothing of generating.
"""

import os
import warnings
import weakref
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError
from engine.api.events import CacheReport, ModelInfo
from engine.api.request import CacheStats, LoadModel, ResetCaches
from engine.api.settings import EngineSettings, KVScheme
from engine.client import EngineClient
from engine.device import TOO_LATE, open_blas
from engine.environment import is_offline, settings_from_environment
from engine.exchange import Exchange
from engine.host import EngineHost
from engine.python.refusal import OF_LOADING, refuse

if TYPE_CHECKING:
    from engine.run.template import ChatTemplate

_PATIENCE_S = 5.0
"""How long the end of the program waits for the engine's thread."""


class Model:
    """A loaded model. `config` has its config's values as attributes. Close it, or let go of it, to free its memory."""

    def __init__(self, host: EngineHost, info: ModelInfo, config: SimpleNamespace) -> None:
        self.host = host
        self.info = info
        self.config = config
        self._finalizer = weakref.finalize(self, host.close, _PATIENCE_S)

    @property
    def client(self) -> EngineClient:
        return self.host.client

    def cache_stats(self) -> CacheReport:
        """What is remembered of prompts, answers and pictures, and what that has saved."""
        return self._cache_report(CacheStats())

    def reset_caches(self) -> CacheReport:
        """Forget all of it; on the disk too, where `CacheSettings.disk_dir` keeps it."""
        return self._cache_report(ResetCaches())

    def close(self) -> None:
        self._finalizer()

    def _cache_report(self, request: CacheStats | ResetCaches) -> CacheReport:
        with Exchange(self.client, request) as exchange:
            return exchange.finish().cache

    def __enter__(self) -> "Model":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Processor:
    """What belongs to a model besides its weights: plain Python, usable on any thread."""

    tokenizer: Any
    """mlx-lm's wrapper of the transformers tokenizer."""
    template: "ChatTemplate"
    marker: str | None
    """What stands for one picture in a prompt; `None` where the model takes none."""
    clip_marker: str | None = None
    """The same for clips."""


def load(
    path_or_hf_repo: str | Path,
    adapter_path: str | Path | None = None,
    *,
    revision: str | None = None,
    max_kv_size: int | None = None,
    prefill_step_size: int | None = None,
    kv_bits: float | None = None,
    kv_quant_scheme: str | None = None,
    kv_group_size: int | None = None,
    draft_model: str | Path | None = None,
    settings: EngineSettings | None = None,
    **others: Any,
) -> tuple[Model, Processor]:
    """A model and its processor, from `starter`, a folder, or a Hub id, which is downloaded if need be.

    `kv_bits` keep the KV cache small, in the scheme `uniform` (2, 3, 4, 6 or 8, in groups of `kv_group_size`) or
    `turboquant` (2, 3, 3.5 or 4). `draft_model` is a smaller one with the same tokens, that guesses ahead;
    `adapter_path` a folder with a LoRA adapter for the model.
    `settings` replace those of the environment. Raises an `EngineError` saying what is wrong.
    """
    refuse("load", others, OF_LOADING)
    settings = _with_cache(
        settings or settings_from_environment(os.environ),
        max_kv_size=max_kv_size,
        prefill_step_size=prefill_step_size,
        kv_bits=kv_bits,
        kv_quant_scheme=None if kv_quant_scheme is None else _scheme(kv_quant_scheme),
        kv_group_size=kv_group_size,
    )
    source = str(path_or_hf_repo)
    host = EngineHost(settings)
    host.start()
    try:
        draft = None if draft_model is None else str(draft_model)
        adapter = None if adapter_path is None else Path(adapter_path).expanduser()
        request = LoadModel(source, revision, download=not is_offline(os.environ), draft_model=draft, adapter=adapter)
        with Exchange(host.client, request) as exchange:
            info = exchange.finish().model
        config, processor = _read(source, revision, settings)
    except BaseException:
        host.close()
        raise
    if open_blas() == TOO_LATE:
        warnings.warn(
            "MLX was imported before Fovea could open a fast BLAS, so this will be 30 times slower than it could be. "
            "Call engine.device.open_blas() before importing mlx.",
            stacklevel=2,
        )
    return Model(host, info, SimpleNamespace(**config)), processor


def load_config(path_or_hf_repo: str | Path, *, settings: EngineSettings | None = None) -> dict[str, Any]:
    """The `config.json` of a model on this machine, as it stands."""
    from engine.loading.config import read_config
    from engine.loading.hub import resolve

    return read_config(resolve(str(path_or_hf_repo), settings or settings_from_environment(os.environ)))


def _with_cache(settings: EngineSettings, **given: Any) -> EngineSettings:
    """`settings` but for the fields of `CacheSettings` that are `given` and not `None`."""
    changes = {name: value for name, value in given.items() if value is not None}
    return replace(settings, cache=replace(settings.cache, **changes))


def _scheme(name: str) -> KVScheme:
    try:
        return KVScheme(name)
    except ValueError as error:
        known = ", ".join(scheme.value for scheme in KVScheme)
        raise RequestError(f"There is no kv_quant_scheme {name!r}.", f"Use one of {known}.") from error


def _read(source: str, revision: str | None, settings: EngineSettings) -> tuple[dict[str, Any], Processor]:
    # Not at the top: these bring transformers and MLX, and MLX must not come before the engine has opened a BLAS.
    from engine.loading.config import normalise, read_config
    from engine.loading.generation import generation_defaults
    from engine.loading.hub import resolve
    from engine.loading.tokenizer import load_tokenizer
    from engine.models.registry import find_family
    from engine.run.template import ChatTemplate

    folder = resolve(source, settings, revision)
    config = normalise(read_config(folder))
    family = find_family(config)
    tokenizer = load_tokenizer(folder, generation_defaults(folder, config).eos_token_ids)
    media = family.processor(folder, config, tokenizer) if family.processor else None
    clips = family.clips(folder, config, tokenizer) if family.clips else None
    markers = media and media.marker, clips and clips.marker
    return config, Processor(tokenizer, ChatTemplate(tokenizer, family.chat_template, *markers), *markers)

"""What a checkpoint's files say about generating: when an answer ends, and how its tokens are drawn.

Knows nothing of requests, which may ask for something else.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError, RequestError
from engine.api.settings import SamplingSettings
from engine.loading.config import read_json, text_config


@dataclass(frozen=True, slots=True)
class GenerationDefaults:
    eos_token_ids: frozenset[int]
    """An answer ends at any of these."""
    max_new_tokens: int | None = None
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    adapters: Mapping[str, SamplingSettings] = field(default_factory=dict)
    """What holds instead, setting by setting, while an adapter of the checkpoint's own is on."""

    def under(self, adapter: str | None) -> SamplingSettings:
        """The settings of a conversation that runs under this adapter."""
        if adapter is None or adapter not in self.adapters:
            return self.sampling
        changes = {name: value for name, value in asdict(self.adapters[adapter]).items() if value is not None}
        return replace(self.sampling, **changes)


def generation_defaults(folder: Path, config: Mapping[str, Any]) -> GenerationDefaults:
    """From `generation_config.json`, else from the config. Raises `CheckpointError` when the file is torn."""
    path = folder / "generation_config.json"
    written = read_json(path) if path.is_file() else {}
    sources = (written, config, text_config(config))
    ids = next((found for source in sources if (found := _ids(source.get("eos_token_id")))), frozenset())
    try:
        adapters = {name: _sampling(entry) for name, entry in written.get("adapters", {}).items()}
        return GenerationDefaults(ids, written.get("max_new_tokens"), _sampling(written), adapters)
    except (RequestError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path} holds a setting that cannot be used: {error}", "Get the file again.") from error


def _ids(value: object) -> frozenset[int]:
    if isinstance(value, int):
        return frozenset((value,))
    return frozenset(value) if isinstance(value, list) else frozenset()


def _sampling(written: Mapping[str, Any]) -> SamplingSettings:
    """Without `do_sample` the model wants its likeliest token, whatever temperature the file still carries."""
    drawn = bool(written.get("do_sample"))
    return SamplingSettings(
        temperature=written.get("temperature", 1.0) if drawn else None,
        top_p=written.get("top_p") if drawn else None,
        top_k=written.get("top_k") if drawn else None,
        min_p=written.get("min_p") if drawn else None,
        repetition_penalty=written.get("repetition_penalty"),
        no_repeat_ngram_size=written.get("no_repeat_ngram_size"),
    )

"""A model on its way in: checked against its files and the free memory, then read, then made a session of.

Knows nothing of what was loaded before, but for how much memory it will give back.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import mlx.core as mx

from engine.api.settings import CacheSettings, EngineSettings
from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.feature_tiers import TieredFeatureCache
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.cache.scheme import compress
from engine.cache.tiers import TieredPrefixCache
from engine.constrain.compiling import ConstraintCompiler
from engine.device import Device, DeviceKind, free_memory
from engine.loading.buffers import prompt_buffers
from engine.loading.checkpoint import Checkpoint, materialise, prepare
from engine.loading.fingerprint import fingerprint
from engine.loading.footprint import LayerCache, measure_caches
from engine.loading.memory import MOST_FOR_A_SLICE, SLOW_DEVICES_SLICE, preflight, slice_bytes
from engine.loading.pairing import check_pair
from engine.run.answer import AnswerForm
from engine.run.media import MediaReader
from engine.run.prompt import PromptBuilder
from engine.run.room import GivesWay, Room
from engine.run.rows import can_be_rows
from engine.run.template import ChatTemplate
from engine.session import Session
from engine.speculate.drafters import Drafters


@dataclass(slots=True)
class Opening:
    """A model on its way in: checked and known to fit, but without memory of its own yet."""

    checkpoint: Checkpoint
    settings: EngineSettings
    device: Device
    started_at: float
    fingerprint: str
    """Of the model's files as they were checked; empty where no caches are kept on the disk."""
    draft: Checkpoint | None = None
    """The model that guesses ahead of the first."""

    @property
    def checkpoints(self) -> list[Checkpoint]:
        return [checkpoint for checkpoint in (self.checkpoint, self.draft) if checkpoint is not None]

    @property
    def weight_bytes(self) -> int:
        return sum(checkpoint.weight_bytes for checkpoint in self.checkpoints)

    def materialise(self) -> Iterator[tuple[int, int]]:
        """Read the weights; yields bytes done and in total."""
        before = 0
        for checkpoint in self.checkpoints:
            for done, _ in materialise(checkpoint):
                yield before + done, self.weight_bytes
            before += checkpoint.weight_bytes

    def session(self) -> Session:
        checkpoint = self.checkpoint
        family = checkpoint.family
        reader = MediaReader(checkpoint.processor, checkpoint.clips, self.settings.media, family.most_pictures)
        template = ChatTemplate(checkpoint.tokenizer, family.chat_template, *reader.markers)
        builder = PromptBuilder(checkpoint.tokenizer, template, reader, family.begin)
        cache = self.settings.cache
        free = partial(free_memory, self.device)
        # Files that changed while they were read, or went: nobody knows what the weights are now.
        kept = bool(self.fingerprint) and self.fingerprint == _fingerprint(checkpoint, self.settings.cache)
        prefixes = self._prefixes(free, on_disk=kept)
        features = self._features(free, on_disk=kept and cache.feature_disk)
        layers = measure_caches(checkpoint.model, cache)
        if self.draft is not None:
            layers += measure_caches(self.draft.model)
        room = self._room(layers, lambda: free(reader.kept.bytes), (reader.kept, prefixes, features))
        form = AnswerForm(checkpoint.tokenizer, template.text)
        compiler = ConstraintCompiler(
            checkpoint.tokenizer, checkpoint.generation.eos_token_ids, self.settings.constraints
        )
        took = time.monotonic() - self.started_at
        drafters = self._drafters()
        return Session(checkpoint, builder, prefixes, features, room, form, compiler, drafters, self.weight_bytes, took)

    def _room(self, layers: Sequence[LayerCache], free: Callable[[], int], leftovers: Sequence[GivesWay]) -> Room:
        cache, model, device = self.settings.cache, self.checkpoint.model, self.device
        is_fast = device.kind is DeviceKind.METAL
        model.tower_bytes = slice_bytes(self.settings, free(), MOST_FOR_A_SLICE if is_fast else SLOW_DEVICES_SLICE)
        prompts = prompt_buffers(
            self.checkpoint.config,
            model.tower_bytes,
            cache.prefill_step_size,
            together=model.sees_tiles_together,
            has_fused_attention=is_fast,
        )
        padded = can_be_rows(compress(model.make_cache(cache.max_kv_size), cache))
        return Room(
            layers,
            prompts,
            free,
            mx.get_active_memory,
            leftovers,
            cache.max_kv_bytes,
            padded=padded,
            settle=mx.synchronize,
        )

    def _drafters(self) -> Drafters:
        settings = self.settings.speculation
        if self.draft is None:
            return Drafters(settings)
        size = max(self.checkpoint.tokenizer.get_vocab().values()) + 1
        return Drafters(settings, self.draft.model, size, self.settings.cache.prefill_step_size)

    def _prefixes(self, free: Callable[[], int], *, on_disk: bool) -> PrefixCache:
        cache, model = self.settings.cache, self.checkpoint.model
        max_bytes = free() // 4 if cache.prefix_bytes is None else cache.prefix_bytes
        if not max_bytes or not on_disk:
            return PrefixCache(max_bytes)
        disk = DiskStore(cache.disk_dir, self.fingerprint, DiskLimits(cache.disk_bytes))
        return TieredPrefixCache(max_bytes, disk, lambda: compress(model.make_cache(cache.max_kv_size), cache), free)

    def _features(self, free: Callable[[], int], *, on_disk: bool) -> FeatureCache:
        cache = self.settings.cache
        if not cache.feature_bytes or not on_disk:
            return FeatureCache(cache.feature_bytes)
        # Whatever their size, and quickly written.
        limits = DiskLimits(cache.disk_bytes, least_tokens=1, closing_s=0.2)
        disk = DiskStore(cache.disk_dir, _fingerprint_of(self.checkpoint, None), limits)
        return TieredFeatureCache(cache.feature_bytes, disk, free)


def _fingerprint(checkpoint: Checkpoint, cache: CacheSettings) -> str:
    folders = (checkpoint.folder, checkpoint.adapter or checkpoint.folder)
    if cache.disk_dir is None or not all(folder.is_dir() for folder in folders):
        return ""
    return _fingerprint_of(checkpoint, cache)


def _fingerprint_of(checkpoint: Checkpoint, cache: CacheSettings | None) -> str:
    return fingerprint(checkpoint.folder, checkpoint.config, checkpoint.model, cache, checkpoint.adapter)


def open_checkpoint(
    source: str,
    folder: Path,
    settings: EngineSettings,
    device: Device,
    *,
    reclaimable: int,
    draft: tuple[str, Path] | None = None,
    adapter: Path | None = None,
) -> Opening:
    """Check everything that can be checked while the model before it, `reclaimable` bytes, is still loaded. `draft`:
    source and folder of a model that guesses for this one; `adapter`: the folder of one that is put onto this one."""
    started_at = time.monotonic()
    # Before: what is not read lazily, such as a GGUF file, is in memory once it is opened, and goes as it is converted.
    free = free_memory(device) + reclaimable
    checkpoint = prepare(source, folder, device, reclaimable=reclaimable, adapter=adapter)
    guesses = None
    if draft is not None:
        guesses = prepare(*draft, device, reclaimable=reclaimable - checkpoint.weight_bytes)
        check_pair(checkpoint, guesses)
        preflight(guesses, free - checkpoint.weight_bytes, settings)
        free -= guesses.weight_bytes
    preflight(checkpoint, free, settings)
    return Opening(checkpoint, settings, device, started_at, _fingerprint(checkpoint, settings.cache), guesses)

"""One loaded model with its tokenizer, processor and settings: what stays between requests.

Owned by the engine's loop and used on its thread only. Knows nothing of who asks.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import mlx.core as mx
import numpy as np

from engine.api.errors import ContextError
from engine.api.events import CacheReport, Modality, ModelInfo, Region
from engine.api.request import GenerateRequest
from engine.api.settings import CacheSettings, EngineSettings, SamplingSettings
from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.feature_tiers import TieredFeatureCache
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.cache.scheme import compress
from engine.cache.tiers import TieredPrefixCache
from engine.constrain.compiling import ConstraintCompiler
from engine.constrain.constraint import Constraint
from engine.constrain.thinking import DelayedConstraint
from engine.device import Device, DeviceKind, free_memory
from engine.loading.buffers import prompt_buffers
from engine.loading.checkpoint import Checkpoint, materialise, prepare
from engine.loading.fingerprint import fingerprint
from engine.loading.footprint import LayerCache, measure_caches
from engine.loading.memory import MOST_FOR_A_SLICE, SLOW_DEVICES_SLICE, preflight, slice_bytes
from engine.loading.pairing import check_pair
from engine.models.grounding.question import Question
from engine.run.answer import AnswerForm
from engine.run.media import MediaReader
from engine.run.prompt import Prompt, PromptBuilder
from engine.run.room import GivesWay, Room
from engine.run.rows import can_be_rows
from engine.run.sampler import Sampler
from engine.run.template import ChatTemplate
from engine.run.text import TextStream
from engine.speculate.drafters import Drafters
from engine.speculate.speculation import Speculation

SEEDS = 1 << 64
DEFAULTS = SamplingSettings(
    temperature=0.0,
    top_p=1.0,
    top_k=0,
    min_p=0.0,
    repetition_penalty=1.0,
    repetition_context_size=64,
    no_repeat_ngram_size=0,
)


@dataclass(slots=True)
class Session:
    checkpoint: Checkpoint
    builder: PromptBuilder
    prefixes: PrefixCache
    features: FeatureCache
    room: Room
    form: AnswerForm
    compiler: ConstraintCompiler
    drafters: Drafters
    weight_bytes: int
    """Of the model, and of the one that guesses for it."""
    load_s: float = 0.0

    @property
    def info(self) -> ModelInfo:
        return self.checkpoint.info

    def constraint(self, request: GenerateRequest, prompt: Prompt) -> Iterator[Constraint | None]:
        """Yields `None` while the form that an answer is held to is made ready, and at last what holds it; nothing at
        all for an answer of any form. Raises `RequestError` for a form that cannot be held to."""
        if (form := self.form.form(request)) is None:
            return
        held = yield from self.compiler.compile(form)
        block = self.form.block(prompt.text)
        yield held if block is None else DelayedConstraint(held, block)

    def samplers(self, request: GenerateRequest, prompt: Prompt, constraint: Constraint | None) -> list[Sampler]:
        """One for each of the answers asked for. `constraint` is at its beginning."""
        settings = self._sampling(request, prompt)
        seed = settings.seed if settings.seed is not None else secrets.randbits(32)
        # As mlx-lm has it: an answer may always end, and a line.
        line_end = self.checkpoint.tokenizer.encode("\n", add_special_tokens=False)
        spared = (*self.checkpoint.generation.eos_token_ids, *line_end)
        return [
            Sampler(
                settings,
                mx.array(prompt.token_ids),
                seed=(seed + number) % SEEDS,
                logprobs=request.logprobs,
                alternatives=request.top_logprobs,
                constraint=constraint and constraint.fork(),
                budget=self.form.budget(request, prompt.text),
                spared=spared,
            )
            for number in range(request.n)
        ]

    def speculation(self, request: GenerateRequest, prompt: Prompt, max_tokens: int) -> Speculation | None:
        """What guesses ahead of the model in one of the answers, of at most so many tokens."""
        drafter = self.drafters.drafter(self._sampling(request, prompt).temperature)
        if drafter is None:
            return None
        return Speculation(
            drafter,
            np.delete(prompt.token_ids, prompt.slots),
            most=self.drafters.settings.most,
            max_tokens=max_tokens,
            end_ids=self.checkpoint.generation.eos_token_ids,
        )

    def _sampling(self, request: GenerateRequest, prompt: Prompt) -> SamplingSettings:
        adapter = self.checkpoint.model.adapter_for(prompt.media)
        return resolve(request.sampling, self.checkpoint.generation.under(adapter))

    def max_tokens(self, request: GenerateRequest, prompt_tokens: int) -> int:
        """How many tokens the answer may have. Raises `ContextError` when the prompt leaves no room."""
        context = self.info.context_length
        wanted = request.max_tokens or self.checkpoint.generation.max_new_tokens
        if not context:
            return wanted or 2048
        room = context - prompt_tokens
        if room < 1:
            raise ContextError(
                f"The conversation has {prompt_tokens:,} tokens; {self.info.name} holds {context:,}.",
                "Begin a new chat, shorten the text, or take some pictures out.",
            )
        return min(wanted or room, room)

    def regions(self, prompt: Prompt, answer: Sequence[int]) -> tuple[Region, ...]:
        """The places in its pictures that an answer, token ids, speaks of; control tokens count."""
        locate = self.checkpoint.family.locate
        seen = [pair for pair in zip(prompt.media, prompt.sizes, strict=True) if pair[0].modality is Modality.IMAGE]
        if locate is None or not seen:
            return ()
        media, sizes = zip(*seen, strict=True)
        return locate(
            self.checkpoint.tokenizer.decode(answer), Question(prompt.text, sizes, media, self.checkpoint.config)
        )

    def cache_report(self) -> CacheReport:
        return CacheReport(
            self.prefixes.counts, self.features.counts, self.prefixes.disk_counts, self.features.disk_counts
        )

    def reset_caches(self) -> None:
        """Forget all prompts, answers and pictures, on the disk too. Answers under way go on with what they hold."""
        self.prefixes.reset()
        self.features.reset()

    def close(self) -> None:
        self.features.close()
        self.prefixes.close()

    def text_stream(self, request: GenerateRequest, prompt: Prompt) -> TextStream:
        return self.form.stream(request, prompt.text)


def resolve(asked: SamplingSettings, model: SamplingSettings) -> SamplingSettings:
    """What was asked for, else what the model's files say, else greedy."""
    chosen = {}
    for field in fields(SamplingSettings):
        values = (getattr(source, field.name) for source in (asked, model, DEFAULTS))
        chosen[field.name] = next((value for value in values if value is not None), None)
    return SamplingSettings(**chosen)


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

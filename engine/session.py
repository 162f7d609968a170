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

from engine.api.errors import ContextError
from engine.api.events import CacheReport, Modality, ModelInfo, Region
from engine.api.request import GenerateRequest
from engine.api.settings import EngineSettings, SamplingSettings
from engine.cache.disk import DiskLimits, DiskStore
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.cache.scheme import compress
from engine.cache.tiers import TieredPrefixCache
from engine.constrain.compiling import ConstraintCompiler
from engine.constrain.constraint import Constraint
from engine.constrain.thinking import DelayedConstraint
from engine.device import Device, free_memory
from engine.loading.checkpoint import Checkpoint, materialise, prepare
from engine.loading.fingerprint import fingerprint
from engine.loading.footprint import measure_caches
from engine.loading.memory import preflight
from engine.models.grounding.question import Question
from engine.run.answer import AnswerForm
from engine.run.media import MediaReader
from engine.run.prompt import Prompt, PromptBuilder
from engine.run.room import Room
from engine.run.sampler import Sampler
from engine.run.template import ChatTemplate
from engine.run.text import TextStream

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
    load_s: float = 0.0

    @property
    def info(self) -> ModelInfo:
        return self.checkpoint.info

    def constraint(self, request: GenerateRequest, prompt: Prompt) -> Iterator[Constraint | None]:
        """Yields `None` while the form that an answer is held to is made ready, and at last what holds it; nothing at
        all for an answer of any form. Raises `RequestError` for a form that cannot be held to."""
        if request.response_format is None:
            return
        held = yield from self.compiler.compile(request.response_format)
        block = self.form.block(prompt.text)
        yield held if block is None else DelayedConstraint(held, block)

    def sampler(self, request: GenerateRequest, prompt: Prompt, constraint: Constraint | None) -> Sampler:
        adapter = self.checkpoint.model.adapter_for(prompt.media)
        settings = resolve(request.sampling, self.checkpoint.generation.under(adapter))
        seed = settings.seed if settings.seed is not None else secrets.randbits(32)
        return Sampler(
            settings,
            mx.array(prompt.token_ids),
            seed=seed,
            logprobs=request.logprobs,
            alternatives=request.top_logprobs,
            constraint=constraint,
            budget=self.form.budget(request, prompt.text),
            spared=tuple(self.checkpoint.generation.eos_token_ids),
        )

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
        return CacheReport(self.prefixes.counts, self.features.counts, self.prefixes.disk_counts)

    def reset_caches(self) -> None:
        """Forget all prompts, answers and pictures, on the disk too. Answers under way go on with what they hold."""
        self.prefixes.reset()
        self.features.reset()

    def close(self) -> None:
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

    def materialise(self) -> Iterator[tuple[int, int]]:
        """Read the weights; yields bytes done and in total."""
        yield from materialise(self.checkpoint)

    def session(self) -> Session:
        checkpoint = self.checkpoint
        family = checkpoint.family
        reader = MediaReader(checkpoint.processor, checkpoint.clips, self.settings.media, family.most_pictures)
        template = ChatTemplate(checkpoint.tokenizer, family.chat_template, *reader.markers)
        builder = PromptBuilder(checkpoint.tokenizer, template, reader, family.begin)
        cache = self.settings.cache
        free = partial(free_memory, self.device)
        prefixes = self._prefixes(free)
        features = FeatureCache(cache.feature_bytes)
        room = Room(measure_caches(checkpoint.model, cache), free, (prefixes, features), cache.max_kv_bytes)
        form = AnswerForm(checkpoint.tokenizer, template.text)
        compiler = ConstraintCompiler(
            checkpoint.tokenizer, checkpoint.generation.eos_token_ids, self.settings.constraints
        )
        took = time.monotonic() - self.started_at
        return Session(checkpoint, builder, prefixes, features, room, form, compiler, took)

    def _prefixes(self, free: Callable[[], int]) -> PrefixCache:
        cache, model = self.settings.cache, self.checkpoint.model
        max_bytes = free() // 4 if cache.prefix_bytes is None else cache.prefix_bytes
        # Files that changed while they were read, or went: nobody knows what the weights are now.
        if not max_bytes or not self.fingerprint or self.fingerprint != _fingerprint(self.checkpoint, self.settings):
            return PrefixCache(max_bytes)
        disk = DiskStore(cache.disk_dir, self.fingerprint, DiskLimits(cache.disk_bytes))
        return TieredPrefixCache(max_bytes, disk, lambda: compress(model.make_cache(cache.max_kv_size), cache), free)


def _fingerprint(checkpoint: Checkpoint, settings: EngineSettings) -> str:
    if settings.cache.disk_dir is None or not checkpoint.folder.is_dir():
        return ""
    return fingerprint(checkpoint.folder, checkpoint.config, checkpoint.model, settings.cache)


def open_checkpoint(
    source: str,
    folder: Path,
    settings: EngineSettings,
    device: Device,
    *,
    reclaimable: int,
) -> Opening:
    """Check everything that can be checked while the model before it, `reclaimable` bytes, is still loaded."""
    started_at = time.monotonic()
    checkpoint = prepare(source, folder, device, reclaimable=reclaimable)
    preflight(checkpoint, free_memory(device) + reclaimable, settings)
    return Opening(checkpoint, settings, device, started_at, _fingerprint(checkpoint, settings))

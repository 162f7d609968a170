"""One loaded model with its tokenizer, processor and settings: what stays between requests.

Owned by the engine's loop and used on its thread only. Knows nothing of who asks.
"""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import mlx.core as mx
import numpy as np

from engine.api.errors import ContextError
from engine.api.events import CacheReport, Modality, ModelInfo, Region
from engine.api.request import GenerateRequest
from engine.api.settings import SamplingSettings
from engine.cache.features import FeatureCache
from engine.cache.prefix import PrefixCache
from engine.constrain.compiling import ConstraintCompiler
from engine.constrain.constraint import Constraint
from engine.constrain.thinking import DelayedConstraint
from engine.loading.checkpoint import Checkpoint
from engine.models.grounding.question import Question
from engine.run.answer import AnswerForm
from engine.run.prompt import Prompt, PromptBuilder
from engine.run.room import Room
from engine.run.sampler import Sampler
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

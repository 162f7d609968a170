"""Thinking before an answer: which markers a model puts around it, and how it is ended when it takes too long.

Knows nothing of sampling: what has to be drawn next is said, not done.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class ThinkingMarkers:
    start: str
    end: str
    open: bool = False
    """Whether the prompt already ends inside a thinking block."""
    closing: str = ""
    """What ends a block for the model, where that is more than `end`."""
    silent: tuple[str, ...] = ()
    """Words outside of thinking that are never part of the answer."""
    frame: tuple[str, ...] = ()
    """The same, once the model has thought."""

    @property
    def words(self) -> tuple[str, ...]:
        return (self.start, self.end, *filter(None, (self.closing,)), *self.silent, *self.frame)

    def at(self, prompt: str) -> "ThinkingMarkers":
        """The same for one rendered prompt, which may end inside a block."""
        return replace(self, open=prompt.rstrip().endswith(self.start))


HARMONY = ThinkingMarkers(
    "<|channel|>analysis<|message|>",
    "<|end|>",
    closing="<|end|><|start|>assistant<|channel|>final<|message|>",
    silent=("<|channel|>final<|message|>", "<|channel|>commentary<|message|>", "<|start|>assistant", "<|end|>"),
)
"""gpt-oss: channels of one turn (the Harmony format of OpenAI)."""

PAIRS = (
    ("<think>", "</think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|think:start|>", "<|think:end|>"),
    ("<seed:think>", "</seed:think>"),
    ("<|channel>thought", "<channel|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
)
_KIMI = ("◁think▷", "◁/think▷")
_KIMI_TURN = "<|im_middle|>"
"""Kimi-VL thinks between words that neither its vocabulary nor its template has."""

_FRAMES = (("<response>", "</response>"), ("<answer>", "</answer>"))
"""What Granite and GLM-V put around the answer after they thought."""


def find_thinking(tokenizer: Any, template: str) -> ThinkingMarkers | None:
    """The markers of a model: as mlx-lm's wrapper knows them, else those in its vocabulary or its chat template."""
    vocabulary = tokenizer.get_vocab()
    if "<|channel|>" in template and "<|message|>" in template:
        return HARMONY
    pair = (tokenizer.think_start, tokenizer.think_end) if tokenizer.has_thinking else _pair(vocabulary, template)
    if pair is None:
        return None
    frame = [word for words in _FRAMES if _knows(words, vocabulary, template) for word in words]
    return ThinkingMarkers(*pair, silent=tuple(getattr(tokenizer, "structural_markers", ())), frame=tuple(frame))


def _pair(vocabulary: dict[str, int], template: str) -> tuple[str, str] | None:
    for pair in PAIRS:
        if _knows(pair, vocabulary, template):
            return pair
    return _KIMI if _KIMI_TURN in vocabulary else None


def _knows(words: Sequence[str], vocabulary: dict[str, int], template: str) -> bool:
    return all(word in vocabulary for word in words) or all(word in template for word in words)


class Watch(Protocol):
    """Tells thinking from answer as tokens come; `engine.run.text.TextStream` is one."""

    thinking: bool
    answering: bool
    """Whether the answer has begun: a block may still be opened until then."""
    thought: int
    """Tokens of thinking so far, with those that may still become the end marker."""

    def push(self, token: int) -> object: ...


class ThinkingBudget:
    """Ends the thinking of one answer after `limit` tokens.

    Before each draw: `waits` says whether all tokens have to be read and accepted first, and `forced()` which token,
    if any, the draw has to give. `accept` is called once for every token of the answer, in order, forced ones too.
    While `waits` is false, one token may be under way unread. A block that is opened again in the middle of an answer,
    with nothing left of the budget, may therefore hold one token before its end.
    """

    def __init__(self, limit: int, watch: Watch, closing: Sequence[int]) -> None:
        """`closing` are the token ids of the end marker; `watch` gets all tokens from here and from nobody else."""
        self._limit = limit
        self._watch = watch
        self._closing = tuple(closing)
        self._matched = 0
        """How much of the end marker the last tokens were."""
        self._is_forcing = False
        self._is_spent = False

    @property
    def waits(self) -> bool:
        if self._is_forcing:
            return True
        if self._watch.thinking:
            return self._watch.thought + 1 >= self._limit
        # The token under way may open a block, in which the next one must not stand.
        return not self._watch.answering and self._watch.thought >= self._limit

    def forced(self) -> int | None:
        """Changes nothing, so it may be asked as often as one likes."""
        return self._closing[self._matched] if self._is_forcing or self._is_due else None

    def accept(self, token: int) -> None:
        is_forced = token == self.forced()
        self._watch.push(token)
        if not self._watch.thinking:
            self._is_spent = False
        if token != self._closing[self._matched]:
            self._matched = 0
        self._matched += token == self._closing[self._matched]
        self._is_forcing = is_forced and self._matched < len(self._closing)
        if self._matched == len(self._closing):
            self._matched = 0
            # A marker that did not end the block will not do so the second time either.
            self._is_spent = is_forced and self._watch.thinking

    @property
    def _is_due(self) -> bool:
        return self._watch.thinking and not self._is_spent and self._watch.thought >= self._limit

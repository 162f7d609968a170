"""Which markers a model puts around its thinking, told from its vocabulary and its chat template.

Knows nothing of answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any


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

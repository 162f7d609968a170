"""A model's tokenizer as the grammar engine needs it: the bytes of every token, and which ones end a sequence.

Knows nothing of grammars. Takes about a second for a large vocabulary, so it is made once a model.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError

if TYPE_CHECKING:
    from llguidance import LLTokenizer


def grammar_tokenizer(tokenizer: Any, end_ids: Iterable[int]) -> "LLTokenizer":
    """`tokenizer` is a transformers one, or mlx-lm's wrapper of it. Raises `RequestError` where it is of a kind whose
    tokens are not known byte by byte."""
    from llguidance import hf
    from transformers import PreTrainedTokenizerFast

    found = getattr(tokenizer, "_tokenizer", tokenizer)
    if not isinstance(found, PreTrainedTokenizerFast):
        raise RequestError(
            "An answer of this model cannot be held to a form: its tokenizer has no tokenizer.json.",
            "Ask without a response format, or choose another model.",
            code="unsupported_format",
        )
    ends = sorted(end_ids)
    size = max([*found.get_vocab().values(), *ends]) + 1
    return hf.from_tokenizer(found, n_vocab=size, eos_token=ends)

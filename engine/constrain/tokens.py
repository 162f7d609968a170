"""A model's tokenizer as the grammar engine needs it: the bytes of every token, and which ones end a sequence.

Knows nothing of grammars. The grammar engine sorts the tokens while no other Python runs, some tenths of a second for
the largest vocabularies: a quarter of what it takes to read a tokenizer.json by itself. It is done once a model.
"""

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError
from engine.constrain.spelling import Spelling, control_words, unwrapped

if TYPE_CHECKING:
    from llguidance import LLTokenizer

_PROBE = '{"a b":[1,  "é\\n"]}\n\tü x'
_LEADS = ("", "\n")
"""What a text is put behind to see its own tokens: some tokenizers put a space before whatever comes first."""


def grammar_tokenizer(tokenizer: Any, end_ids: Iterable[int]) -> "LLTokenizer":
    """`tokenizer` is a transformers one, or mlx-lm's wrapper of it. Raises `RequestError` where it is of a kind whose
    tokens are not known byte by byte."""
    from llguidance import LLTokenizer

    found = unwrapped(tokenizer)
    if not hasattr(found, "get_vocab"):
        raise _refusal("its tokenizer has no vocabulary")
    vocabulary = _Vocabulary(found)
    # An end that the tokenizer does not know cannot be allowed: the answer then ends when it is complete.
    ends = sorted(set(end_ids) & set(range(len(vocabulary.tokens)))) or [vocabulary.eos_token_id]
    # Without its "slices", which take as long again to make and save nothing with vocabularies as they are.
    tokens = LLTokenizer(vocabulary, eos_token=ends, slices=[])
    vocabulary.tokens = ()
    written = found.encode(_PROBE, add_special_tokens=False)
    read = tokens.decode_bytes(written).decode(errors="replace")
    # Some put a space before every text.
    if read.removeprefix(" ") != _PROBE:
        raise _refusal(f"its tokens read {read!r} for {_PROBE!r}")
    return tokens


class _Vocabulary:
    """What llguidance asks of a tokenizer that is not its own (its TokenizerWrapper)."""

    is_tokenizer_wrapper = True

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._spelling = Spelling(tokenizer)
        control = control_words(tokenizer)
        self._control = re.compile("|".join(map(re.escape, control)) or "(?!)")
        self.special_token_ids = sorted(control.values())
        self.eos_token_id = tokenizer.eos_token_id
        self.bos_token_id = None
        size = max(tokenizer.get_vocab().values()) + 1
        self.tokens: Sequence[bytes] = [self._spelling.of(token) for token in range(size)]
        self._bytes = {word: token for token, word in enumerate(self.tokens) if len(word) == 1}

    def __call__(self, text: str | bytes) -> list[int]:
        """The tokens that a model would write `text` in, where words of control tokens are words."""
        left = text.decode() if isinstance(text, bytes) else text
        ids: list[int] = []
        while found := self._control.search(left):
            # Cut in two, they are no token.
            cut = found.start() + 1
            ids += self._written(left[:cut])
            left = left[cut:]
        return ids + self._written(left)

    def _written(self, text: str) -> list[int]:
        wanted = text.encode()
        for lead in _LEADS:
            ids = self._tokenizer.encode(lead + text, add_special_tokens=False)
            words = [self._spelling.of(token) for token in ids]
            behind = next((at for at in range(len(ids)) if b"".join(words[at:]) == wanted), None)
            if behind is not None and not set(ids[behind:]) & set(self.special_token_ids):
                return ids[behind:]
        # Tokens for as much of it as there are, or nothing could be said here.
        return [self._bytes[byte] for byte in (bytes([number]) for number in wanted) if byte in self._bytes]


def _refusal(reason: str) -> RequestError:
    return RequestError(
        f"An answer of this model cannot be held to a form: the bytes of its tokens are not known ({reason}).",
        "Ask without a response format, or choose another model.",
        code="unsupported_format",
    )

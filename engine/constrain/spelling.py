"""The bytes that tokens are written as, which log-probabilities are told with: half a character is a token too.

Knows nothing of answers: what a token's text is among others is up to the detokenizer.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from engine.api.events import TokenLogprob

_BYTE = re.compile("<0x([0-9A-F]{2})>")
"""A token that stands for one byte, in vocabularies of SentencePiece's kind."""
_SPACE = "▁"


class Spelling:
    """Of one vocabulary; each token is looked up once. `tokenizer` is a transformers one, or mlx-lm's wrapper of it."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = unwrapped(tokenizer)
        self._added: Mapping[int, Any] = getattr(self._tokenizer, "added_tokens_decoder", {})
        self._letters = _letters() if _decodes_letters(self._tokenizer) else None
        self._found: dict[int, bytes] = {}

    def spell(self, token: TokenLogprob) -> TokenLogprob:
        """The same with its bytes, and those of the tokens that might have stood there."""
        return replace(token, bytes=self.of(token.token_id), alternatives=tuple(map(self.spell, token.alternatives)))

    def of(self, token_id: int) -> bytes:
        """None for an id that the tokenizer does not know: models often have more."""
        if (found := self._found.get(token_id)) is None:
            found = self._found[token_id] = self._spelled(token_id)
        return found

    @cached_property
    def _size(self) -> int:
        return len(self._tokenizer)

    def _spelled(self, token_id: int) -> bytes:
        if token_id in self._added:
            return str(self._added[token_id]).encode()
        if token_id not in range(self._size):
            return b""
        if (word := self._tokenizer.convert_ids_to_tokens(token_id)) is None:
            return b""
        if self._letters is not None:
            return b"".join(self._letters.get(letter) or letter.encode() for letter in word)
        if byte := _BYTE.fullmatch(word):
            return bytes.fromhex(byte[1])
        if getattr(self._tokenizer, "backend_tokenizer", None) is None or _SPACE in word:
            return word.replace(_SPACE, " ").encode()
        # Whatever marks a kind of its own puts on words.
        return self._tokenizer.decode([token_id]).encode()


def unwrapped(tokenizer: Any) -> Any:
    """The transformers tokenizer in mlx-lm's wrapper; any other as it is."""
    from mlx_lm.tokenizer_utils import TokenizerWrapper

    return tokenizer._tokenizer if isinstance(tokenizer, TokenizerWrapper) else tokenizer


def control_words(tokenizer: Any) -> dict[str, int]:
    """The tokens of a vocabulary that are no text, by their words."""
    added = getattr(unwrapped(tokenizer), "added_tokens_decoder", {})
    return {str(token): number for number, token in added.items() if token.special}


def _decodes_letters(tokenizer: Any) -> bool:
    """Whether its tokens are bytes, each written as a letter."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None or not backend.decoder:
        return False
    decoder = json.loads(backend.decoder.__getstate__())
    return "ByteLevel" in {step["type"] for step in decoder.get("decoders", [decoder])}


def _letters() -> dict[str, bytes]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return {letter: bytes([byte]) for byte, letter in bytes_to_unicode().items()}

"""A model's tokenizer as the grammar engine needs it: the bytes of every token, and which ones end a sequence.

Knows nothing of grammars. Takes about a second for a large vocabulary, during which no other Python runs, so it is
made once a model.
"""

import json
from collections.abc import Iterable
from copy import copy
from typing import TYPE_CHECKING, Any

from engine.api.errors import RequestError

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from tokenizers import Tokenizer

_PROBE = '{"a b":[1,  "é\\n"]}\n\tü x'


def grammar_tokenizer(tokenizer: Any, end_ids: Iterable[int]) -> "LLTokenizer":
    """`tokenizer` is a transformers one, or mlx-lm's wrapper of it. Raises `RequestError` where it is of a kind whose
    tokens are not known byte by byte."""
    from llguidance import LLTokenizer

    found = getattr(tokenizer, "_tokenizer", tokenizer)
    backend = getattr(found, "backend_tokenizer", None)
    if backend is None:
        raise _refusal("it has no tokenizer.json")
    # An end that the tokenizer does not know cannot be allowed: the answer then ends when it is complete.
    ends = sorted(set(end_ids) & set(found.get_vocab().values()))
    try:
        tokens = LLTokenizer(_plain(backend), eos_token=ends or found.eos_token_id)
    except ValueError as error:
        raise _refusal(str(error).partition("\n")[0]) from error
    written = found.encode(_PROBE, add_special_tokens=False)
    read = tokens.decode_bytes(written).decode(errors="replace")
    # Some put a space before every text.
    if read.removeprefix(" ") != _PROBE:
        raise _refusal(f"its tokens read {read!r} for {_PROBE!r}")
    return tokens


def _plain(backend: "Tokenizer") -> str:
    """A tokenizer.json of the kinds that llguidance reads: bytes as letters, or bytes as tokens and a mark for spaces.
    It takes the mark from a `Replace` alone, and would see three bytes in one that `Metaspace` reads."""
    from tokenizers import decoders

    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder else {}
    steps = {step["type"]: step for step in decoder.get("decoders", [decoder]) if step}
    is_plain = decoder.get("type") == "ByteLevel" or not {"ByteLevel", "Metaspace"} & set(steps)
    if is_plain and backend.padding is None and backend.truncation is None:
        return backend.to_str()
    plain = copy(backend)
    plain.no_padding()
    plain.no_truncation()
    if "ByteLevel" in steps:
        plain.decoder = decoders.ByteLevel()
    elif "Metaspace" in steps:
        spaces = decoders.Replace(steps["Metaspace"]["replacement"], " ")
        plain.decoder = decoders.Sequence([spaces, decoders.ByteFallback(), decoders.Fuse()])
    return plain.to_str()


def _refusal(reason: str) -> RequestError:
    return RequestError(
        f"An answer of this model cannot be held to a form: the bytes of its tokens are not known ({reason}).",
        "Ask without a response format, or choose another model.",
        code="unsupported_format",
    )

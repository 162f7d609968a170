"""A GGUF file's byte-level BPE vocabulary written as the tokenizer files that everybody else reads.

Knows nothing of the tensors beside it, nor of how the files are loaded again.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from engine.api.errors import CheckpointError

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")

_CONTROL = 3
"""GGUF's type of a token that is never made from text, such as <|im_end|>."""
_SPECIAL = {"bos_token": "bos", "eos_token": "eos", "pad_token": "padding", "unk_token": "unknown"}


def write_tokenizer(metadata: Mapping[str, Any], folder: Path, *, extra: Sequence[str]) -> None:
    """Write `TOKENIZER_FILES`. The `extra` special tokens get the ids that follow the vocabulary's last.

    Raises `CheckpointError` for a vocabulary that is not GPT-2's kind with SmolLM's splitting.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    kind = metadata.get("tokenizer.ggml.model"), metadata.get("tokenizer.ggml.pre")
    if kind != ("gpt2", "smollm"):
        raise CheckpointError(f"The GGUF file has a tokenizer of an unknown kind: {kind[0]}, {kind[1]}.")
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(pair.split(" ")) for pair in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    # Each digit is a token of its own; the rest is split by GPT-2's expression.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = metadata["tokenizer.ggml.token_type"].tolist()
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in [*control, *extra]])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(_settings(metadata, tokens, extra), indent=1) + "\n", encoding="utf-8"
    )


def _settings(metadata: Mapping[str, Any], tokens: Sequence[str], extra: Sequence[str]) -> dict[str, Any]:
    special = {
        name: tokens[int(metadata[f"tokenizer.ggml.{key}_token_id"])]
        for name, key in (
            ("bos_token", "bos"),
            ("eos_token", "eos"),
            ("pad_token", "padding"),
            ("unk_token", "unknown"),
        )
    }
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **special,
        "additional_special_tokens": list(extra),
        "model_max_length": int(metadata["llama.context_length"]),
        "clean_up_tokenization_spaces": False,
    }

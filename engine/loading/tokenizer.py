"""A checkpoint's tokenizer, in mlx-lm's wrapper with its streaming detokenizer and thinking and tool markers.

Knows nothing of weights. Runs no code of the checkpoint and asks no network.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from engine.api.errors import CheckpointError
from engine.loading.config import custom_code, read_json
from engine.loading.quiet import quiet_transformers

if TYPE_CHECKING:
    from mlx_lm.tokenizer_utils import TokenizerWrapper

_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json", "spiece.model", "*.tiktoken")


def load_tokenizer(folder: Path, eos_ids: Iterable[int]) -> "TokenizerWrapper":
    """The tokenizer in `folder`; an answer ends at `eos_ids` and at the tokenizer's own end of sequence.

    Raises `CheckpointError` when it is missing, damaged, or only works with Python code that comes with the checkpoint.
    """
    from mlx_lm.utils import load_tokenizer as load

    if not any(path for pattern in _FILES for path in folder.glob(pattern)):
        raise CheckpointError(
            f"{folder.name} has no tokenizer: there is no tokenizer.json in it.",
            "The copy or download is incomplete; get the tokenizer's files too.",
        )
    extra = {"trust_remote_code": False, "local_files_only": True}
    try:
        with quiet_transformers():
            return load(folder, extra, eos_token_ids=sorted(eos_ids))
    except Exception as error:  # the tokenizers library raises nothing narrower for a damaged file
        if code := _custom_tokenizer(folder):
            raise CheckpointError(
                f"The tokenizer of {folder.name} only works by running its own code, {code}.",
                "A model never runs code here. Choose a version of it with a tokenizer.json.",
            ) from error
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"The tokenizer of {folder.name} cannot be loaded: {reason}", "Get the tokenizer's files again."
        ) from error


def _custom_tokenizer(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    return custom_code(read_json(path)) if path.is_file() else ""

"""Whether a second model can guess for a first one.

Knows nothing of how it guesses.
"""

from engine.api.errors import CheckpointError
from engine.loading.checkpoint import Checkpoint

_HINT = "Choose a smaller model of the same family, or load this one without."


def check_pair(checkpoint: Checkpoint, draft: Checkpoint) -> None:
    """Raises `CheckpointError` for a `draft` that has other tokens, or caches without a way back."""
    own, other = checkpoint.tokenizer.get_vocab(), draft.tokenizer.get_vocab()
    if own != other:
        differing = len(own.items() ^ other.items())
        raise CheckpointError(
            f"{draft.info.name} cannot guess for {checkpoint.info.name}: their tokenizers have other tokens "
            f"({len(other):,} and {len(own):,}, {differing:,} of which only one has).",
            _HINT,
        )
    if not all(layer.is_trimmable() for layer in draft.model.make_cache()):
        raise CheckpointError(
            f"{draft.info.name} cannot guess for {checkpoint.info.name}: what it has read cannot be taken back.", _HINT
        )

"""Text decoders: mlx-lm's own models, built from a text config and given a checkpoint's weights.

Knows nothing of pictures; hands in `input_embeddings`, and leaves the rest to mlx-lm.
"""

import re
from collections.abc import Callable, Mapping
from inspect import signature

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import _get_classes

from engine.api.errors import CheckpointError
from engine.models.base import Config
from engine.models.decoders.gemma import activate_by_tanh
from engine.models.decoders.gemma2 import slide_every_other_layer
from engine.models.decoders.gemma3 import scale_exactly
from engine.models.decoders.gemma4 import refuse_unread
from engine.models.decoders.handed import take_embeddings
from engine.models.decoders.head import take_head
from engine.models.decoders.mistral import slide_every_layer
from engine.models.decoders.phi3 import slide_and_turn
from engine.models.layers.dynamic_ntk import lengthen_by_row

PREFIX = "language_model."
"""Where a decoder stands in a model, hence how its weights' names begin."""

AMENDMENTS: Mapping[str, Callable[[nn.Module, Config], None]] = {
    "gemma": activate_by_tanh,
    "gemma2": slide_every_other_layer,
    "gemma3_text": scale_exactly,
    "gemma4_text": refuse_unread,
    "lfm2": take_head,
    "lfm2_moe": take_head,
    "ministral3": slide_every_layer,
    "mistral": slide_every_layer,
    "phi3": slide_and_turn,
}
"""Where mlx-lm's module is not the reference's."""

OTHER_NAMES: Mapping[str, Mapping[str, str]] = {
    "lfm2": {"block_dim": "hidden_size"},
    "qwen3_moe": {"num_experts": "num_local_experts"},
}
"""What mlx-lm's arguments want, and a config of transformers 5 says under another name only."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")


def decoder_classes(config: Config) -> tuple[type[nn.Module], type] | None:
    """mlx-lm's model and its arguments for this config's `model_type`, or `None` if it has none."""
    if not _IDENTIFIER.fullmatch(str(config.get("model_type", ""))):
        return None
    try:
        return _get_classes(dict(config))
    except (ValueError, AttributeError):
        return None


def build_decoder(config: Config) -> nn.Module:
    """The decoder of a normalised text config. Raises `CheckpointError` for one that mlx-lm lacks or cannot read."""
    classes = decoder_classes(config)
    if classes is None:
        raise CheckpointError(f"No text decoder of the type {config.get('model_type')!r} is known.")
    model_class, args_class = classes
    others = OTHER_NAMES.get(config["model_type"], {})
    try:
        named = {name: config[other] for name, other in others.items() if name not in config}
        decoder = model_class(args_class.from_dict({**config, **named}))
    except (TypeError, ValueError, KeyError) as error:
        raise CheckpointError(f"The config of this {config['model_type']} decoder cannot be used: {error}") from error
    if (amend := AMENDMENTS.get(config["model_type"])) is not None:
        amend(decoder, config)
    if "input_embeddings" not in signature(decoder.__call__).parameters:
        take_embeddings(decoder)
    lengthen_by_row(decoder)
    return decoder


def sanitize_decoder(decoder: nn.Module, weights: dict[str, mx.array]) -> dict[str, mx.array]:
    """`weights` with those under `PREFIX` passed through mlx-lm's own sanitize, and the others as they are."""
    own = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items() if name.startswith(PREFIX)}
    others = {name: tensor for name, tensor in weights.items() if not name.startswith(PREFIX)}
    _keep_separate_head(decoder, own)
    if hasattr(decoder, "sanitize"):
        own = decoder.sanitize(own)
    return others | {PREFIX + name: tensor for name, tensor in own.items()}


def _keep_separate_head(decoder: nn.Module, weights: dict[str, mx.array]) -> None:
    """A head that differs from the embeddings is used, though the config calls them tied: as transformers does, and as
    a conversion that quantises the two differently needs it. A copy of them goes, with all that it is packed as."""
    args = getattr(decoder, "args", None)
    if "lm_head" in decoder or not getattr(args, "tie_word_embeddings", False) or "lm_head.weight" not in weights:
        return
    head, embedding = weights["lm_head.weight"], weights.get("model.embed_tokens.weight")
    if embedding is None:
        return
    if head is embedding or (head.shape == embedding.shape and mx.array_equal(head, embedding)):
        for name in [name for name in weights if name.startswith("lm_head.")]:
            del weights[name]
        return
    rows, width = decoder.model.embed_tokens.weight.shape
    args.tie_word_embeddings = False
    decoder.lm_head = nn.Linear(width, rows, bias=False)

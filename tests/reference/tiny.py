"""What a tiny checkpoint of the reference implementation is made of: a tokenizer, pictures, weights.

Everything is drawn from fixed seeds, so a failure comes back.
"""

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

TEXT = {
    "model_type": "llama",
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 12,
    "max_position_embeddings": 1024,
    "rope_parameters": {"rope_type": "default", "rope_theta": 777.0},
    "bos_token_id": None,
    "eos_token_id": None,
}
"""A small Llama with grouped queries, and a rope_theta that nobody takes for granted."""

VISION = {
    "hidden_size": 36,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
"""Heads of nine channels, which no kernel is made for."""

PICTURES = {"landscape": (90, 40), "portrait": (33, 71), "square": (32, 32), "strip": (150, 9)}
"""Width and height."""


def tokenizer(specials: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """One token a byte, then `specials`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in specials])
    return PreTrainedTokenizerFast(tokenizer_object=plain, clean_up_tokenization_spaces=False)


def picture(name: str) -> Image.Image:
    """Coarse random colours, smoothed, of the shape called `name`."""
    drawn = np.random.default_rng(len(name)).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(drawn).resize(PICTURES[name], Image.Resampling.BICUBIC)


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough for a mistake anywhere to show in the logits."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim == 1:
                # Norms that add one to what they hold begin with zeros.
                parameter.copy_(0.1 * noise + (1.0 if name.endswith("weight") and parameter.any() else 0.0))
            else:
                parameter.copy_(noise / np.sqrt(parameter[0].numel()) * (3.0 if "embed" in name else 1.0))
    return model.eval()

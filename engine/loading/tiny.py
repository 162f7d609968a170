"""Writes a tiny random checkpoint: for the self-test, `fovea doctor` and the tests, where a real one is too heavy.

It goes through the same loader as any other folder. Knows nothing of what the answer is worth: it is noise.
"""

import json
from pathlib import Path
from typing import Any

BYTES = 256
SPECIALS = (
    "<|end|>",
    "<|user|>",
    "<|assistant|>",
    "<image>",
    "<fake_token_around_image>",
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)),
)
TEMPLATE = (
    "{% for m in messages %}<|{{ 'assistant' if m.role == 'assistant' else 'user' }}|>"
    "{% if m.content is string %}{{ m.content }}{% else %}{% for part in m.content %}"
    "{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}{% endif %}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def write_tiny_llama(folder: Path, *, context_length: int = 512, seed: int = 0) -> Path:
    """A two-layer Llama over bytes, float32, about 40,000 weights. Same seed, same weights."""
    return write_tiny_decoder(folder, "llama", context_length=context_length, seed=seed)


def write_tiny_decoder(
    folder: Path, model_type: str, *, context_length: int = 512, seed: int = 0, **sizes: object
) -> Path:
    """Any text model, of the same size but for what is given as `sizes`."""
    vocab_size = _write_tokenizer(folder)
    config = {"model_type": model_type, **_decoder(vocab_size, context_length), **sizes}
    _write_model(folder, config, seed, prefix="language_model.")
    return folder


def write_tiny_smolvlm(folder: Path, *, context_length: int = 512, seed: int = 0) -> Path:
    """The same Llama with a two-layer SigLIP tower on 16 x 16 tiles: a picture takes up to 5 tiles of 4 tokens."""
    vocab_size = _write_tokenizer(folder)
    config = {
        "model_type": "smolvlm",
        "image_token_id": vocab_size - len(SPECIALS) + SPECIALS.index("<image>"),
        "scale_factor": 2,
        "tie_word_embeddings": False,
        "text_config": {"model_type": "llama", **_decoder(vocab_size, context_length)},
        "vision_config": {
            "model_type": "smolvlm_vision",
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 16,
            "patch_size": 4,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-6,
        },
    }
    pictures = {"size": {"longest_edge": 32}, "max_image_size": {"longest_edge": 16}}
    _write_json(folder / "preprocessor_config.json", {"image_processor_type": "Idefics3ImageProcessor", **pictures})
    _write_model(folder, config, seed, prefix="")
    return folder


def _decoder(vocab_size: int, context_length: int) -> dict[str, object]:
    return {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-5,
        "vocab_size": vocab_size,
        "max_position_embeddings": context_length,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
    }


def _write_model(folder: Path, config: dict[str, Any], seed: int, *, prefix: str) -> None:
    """`prefix` is what our module's names have and the checkpoint's have not."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    from engine.loading.config import normalise
    from engine.models.registry import find_family

    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {"eos_token_id": BYTES})
    config = normalise(config)
    key = mx.random.key(seed)
    weights = {}
    for name, value in sorted(tree_flatten(find_family(config).build(config).parameters())):
        key, part = mx.random.split(key)
        noise = mx.random.normal(value.shape, scale=0.25, key=part)
        weights[name.removeprefix(prefix)] = 1 + 0.1 * noise if "norm" in name and "weight" in name else noise
    mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})


def _write_tokenizer(folder: Path) -> int:
    """One token a byte, then the special ones. Returns the size of the vocabulary."""
    folder.mkdir(parents=True, exist_ok=True)
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIALS])
    tokenizer.save(str(folder / "tokenizer.json"))
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": SPECIALS[0],
            "clean_up_tokenization_spaces": False,
            "chat_template": TEMPLATE,
        },
    )
    return tokenizer.get_vocab_size()


def _write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

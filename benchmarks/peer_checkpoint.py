"""A checkpoint with SmolVLM-256M's shapes for both programs: SmolLM2's real weights as decoder, a random tower.

Speed does not ask whether a tower was trained. Knows nothing of the programs that read it.
"""

import json
import sys
from pathlib import Path
from typing import Any

from engine.device import open_blas

open_blas()

import mlx.core as mx  # noqa: E402  (after the BLAS)
import numpy as np  # noqa: E402

from engine.loading.gguf_tokenizer import write_tokenizer  # noqa: E402
from engine.models.decoders.gguf_llama import read_gguf_llama  # noqa: E402

VOCABULARY = 49280
HIDDEN, HEADS, KV_HEADS, LAYERS, FEED_FORWARD = 576, 9, 3, 30, 1536
TOWER, TOWER_LAYERS, TOWER_FEED_FORWARD, SIDE, PATCH, FACTOR = 768, 12, 3072, 512, 16, 4
END = "<never>"
"""The end-of-sequence token: its row of the tied embedding stays zero, so no answer ends early."""

SPECIALS = (
    "<global-img>",
    *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7)),
    "<fake_token_around_image>",
    "<image>",
    "<end_of_utterance>",
    END,
)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}"
    "{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def write_checkpoint(gguf: Path, folder: Path, dtype: str, longest_edge: int) -> None:
    """`longest_edge` of 512 makes one tile of a picture, 2048 up to 16 and the whole."""
    folder.mkdir(parents=True, exist_ok=True)
    metadata = mx.load(str(gguf), return_metadata=True)[1]
    write_tokenizer(metadata, folder, extra=SPECIALS)
    ids = {token: len(metadata["tokenizer.ggml.tokens"]) + at for at, token in enumerate(SPECIALS)}
    _amend(folder / "tokenizer_config.json", {"eos_token": END, "chat_template": TEMPLATE})
    _write(folder / "chat_template.json", {"chat_template": TEMPLATE})
    (folder / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    _write(folder / "config.json", _config(ids, dtype))
    _write(folder / "generation_config.json", {"eos_token_id": ids[END], "pad_token_id": ids[END]})
    _write(folder / "processor_config.json", {"processor_class": "Idefics3Processor", "image_seq_len": 64})
    _write(folder / "preprocessor_config.json", _preprocessor(longest_edge))
    weights = _decoder(gguf) | _tower()
    kind = getattr(mx, dtype)
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        {name: weight.astype(kind) for name, weight in weights.items()},
        metadata={"format": "pt"},
    )


def _decoder(gguf: Path) -> dict[str, mx.array]:
    weights = read_gguf_llama(gguf, HEADS, KV_HEADS, mx.float32)
    embedding = weights["model.embed_tokens.weight"]
    rows = mx.zeros((VOCABULARY - embedding.shape[0], HIDDEN))
    weights["model.embed_tokens.weight"] = mx.concatenate([embedding, rows])
    named = {"model.text_model." + name.removeprefix("model."): weight for name, weight in weights.items()}
    return named | {"lm_head.weight": weights["model.embed_tokens.weight"]}


def _tower() -> dict[str, mx.array]:
    random = np.random.default_rng(0)

    def normal(*shape: int) -> mx.array:
        return mx.array(random.normal(0, 0.02, shape).astype(np.float32))

    def linear(name: str, inputs: int, outputs: int) -> dict[str, mx.array]:
        return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": mx.zeros(outputs)}

    def norm(name: str) -> dict[str, mx.array]:
        return {f"{name}.weight": mx.ones(TOWER), f"{name}.bias": mx.zeros(TOWER)}

    top = "model.vision_model."
    weights = {
        f"{top}embeddings.patch_embedding.weight": normal(TOWER, 3, PATCH, PATCH),
        f"{top}embeddings.patch_embedding.bias": mx.zeros(TOWER),
        f"{top}embeddings.position_embedding.weight": normal((SIDE // PATCH) ** 2, TOWER),
        **norm(f"{top}post_layernorm"),
        "model.connector.modality_projection.proj.weight": normal(HIDDEN, TOWER * FACTOR**2),
    }
    for layer in range(TOWER_LAYERS):
        at = f"{top}encoder.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            weights |= linear(f"{at}self_attn.{name}", TOWER, TOWER)
        weights |= linear(f"{at}mlp.fc1", TOWER, TOWER_FEED_FORWARD) | linear(f"{at}mlp.fc2", TOWER_FEED_FORWARD, TOWER)
        weights |= norm(f"{at}layer_norm1") | norm(f"{at}layer_norm2")
    return weights


def _config(ids: dict[str, int], dtype: str) -> dict[str, Any]:
    return {
        "model_type": "idefics3",
        "architectures": ["Idefics3ForConditionalGeneration"],
        "image_token_id": ids["<image>"],
        "eos_token_id": ids[END],
        "pad_token_id": ids[END],
        "scale_factor": FACTOR,
        "tie_word_embeddings": False,
        "torch_dtype": dtype,
        "vocab_size": VOCABULARY,
        "text_config": {
            "model_type": "llama",
            "hidden_size": HIDDEN,
            "intermediate_size": FEED_FORWARD,
            "num_attention_heads": HEADS,
            "num_key_value_heads": KV_HEADS,
            "num_hidden_layers": LAYERS,
            "head_dim": HIDDEN // HEADS,
            "max_position_embeddings": 8192,
            "rms_norm_eps": 1e-05,
            "rope_theta": 100000.0,
            "tie_word_embeddings": False,
            "vocab_size": VOCABULARY,
        },
        "vision_config": {
            "model_type": "idefics3_vision",
            "hidden_size": TOWER,
            "intermediate_size": TOWER_FEED_FORWARD,
            "num_hidden_layers": TOWER_LAYERS,
            "num_attention_heads": 12,
            "num_channels": 3,
            "image_size": SIDE,
            "patch_size": PATCH,
            "hidden_act": "gelu_pytorch_tanh",
            "layer_norm_eps": 1e-06,
            "max_image_size": {"longest_edge": SIDE},
            "size": {"longest_edge": 2048},
        },
    }


def _preprocessor(longest_edge: int) -> dict[str, Any]:
    half = [0.5, 0.5, 0.5]
    steps = ("do_convert_rgb", "do_image_splitting", "do_normalize", "do_pad", "do_rescale", "do_resize")
    return {
        "image_processor_type": "Idefics3ImageProcessor",
        "processor_class": "Idefics3Processor",
        **dict.fromkeys(steps, True),
        "image_mean": half,
        "image_std": half,
        "max_image_size": {"longest_edge": SIDE},
        "resample": 1,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": longest_edge},
    }


def _amend(path: Path, changes: dict[str, Any]) -> None:
    _write(path, json.loads(path.read_text(encoding="utf-8")) | changes)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_checkpoint(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))

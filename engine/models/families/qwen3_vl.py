"""Qwen3-VL (arXiv 2511.21631), dense and with experts: pictures and clips at their own shape, deep features too.

A Qwen3 that knows rows and columns reads them, and what the tower saw half-way is added behind its first layers. Knows
nothing of the other families.
"""

from typing import Any

import mlx.core as mx
import mlx.nn as nn

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import Config, Family
from engine.models.decoders.deepstack import DeepStack
from engine.models.decoders.experts import unpack_experts
from engine.models.decoders.text import build_decoder, sanitize_decoder
from engine.models.grounding.json_places import json_places
from engine.models.grounding.question import in_parts
from engine.models.joined.grid import GridModel
from engine.models.layers.mrope import tell_axes_apart
from engine.models.names import Prefixes, rename
from engine.models.processors.timed_clips import read_clips, read_pictures
from engine.models.towers.deepstack_vit import build_deepstack_vit, sanitize_deepstack_vit

NAMES: Prefixes = (
    ("model.language_model.", "language_model.model."),
    ("model.visual.", "vision_tower."),
    ("lm_head.", "language_model.lm_head."),
)

SECTIONS = (24, 20, 20)
"""Of a config that names none, as transformers takes it."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


class Qwen3VL(GridModel):
    steps_apart = True

    def __init__(self, config: Config):
        super().__init__()
        text, vision = config["text_config"], config["vision_config"]
        self.vision_tower = build_deepstack_vit(vision)
        self.language_model = _decoder(text)
        self._step = tell_axes_apart(self.language_model, text, SECTIONS, interleaved=True)
        depth = len(vision["deepstack_visual_indexes"])
        self._stack = DeepStack(self.language_model, text["hidden_size"], range(depth))

    def embed(self, ids: mx.array, slots: mx.array, features: mx.array) -> mx.array:
        """(1, L, D * (1 + depth)): what is added later stands beside the embeddings."""
        first, deeper = self._stack.split(features)
        return self._stack.beside(super().embed(ids, slots, first), slots, deeper)

    def __call__(
        self, ids: mx.array, cache: list[Any] | None = None, embeddings: mx.array | None = None, **places: Any
    ) -> mx.array:
        with self._stack.during(embeddings) as first:
            return super().__call__(ids, cache, first, **places)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        weights = sanitize_deepstack_vit(rename(weights, NAMES), "vision_tower.", self.vision_tower.config)
        return sanitize_decoder(self.language_model, unpack_experts(weights, self.language_model.args.hidden_size))


def _decoder(text: Config) -> nn.Module:
    if text["attention_bias"] or text["hidden_act"] != "silu":
        raise CheckpointError("The text_config asks for biases or an activation that are not known in Qwen3.")
    if text["model_type"] != "qwen3_vl_moe_text":
        return build_decoder({**text, "model_type": "qwen3"})
    experts = {"num_experts": text["num_local_experts"], "norm_topk_prob": True}
    return build_decoder({**text, **experts, "model_type": "qwen3_moe"})


FAMILY = Family(
    model_types=("qwen3_vl", "qwen3_vl_moe"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Qwen3VL,
    processor=read_pictures,
    clips=read_clips,
    chat_template=TEMPLATE,
    locate=json_places(in_parts(1000)),
)

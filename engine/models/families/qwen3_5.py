"""Qwen3.5, dense and with experts: pictures and clips at their own shape, a decoder whose layers mostly remember.

Three layers of four are gated delta nets (arXiv 2412.06464), the fourth looks back and knows rows and columns. Knows
nothing of the other families.
"""

import mlx.core as mx

from engine.api.events import Modality
from engine.models.base import Config, Family
from engine.models.decoders.experts import unpack_experts
from engine.models.decoders.qwen3_5 import build_qwen3_5
from engine.models.decoders.text import sanitize_decoder
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

SECTIONS = (11, 11, 10)
"""Of a config that names none, as transformers takes it."""

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n<think>\n"
    "{% if not enable_thinking %}\n</think>\n\n{% endif %}{% endif %}"
)


class Qwen35(GridModel):
    steps_apart = True

    def __init__(self, config: Config):
        super().__init__()
        text = config["text_config"]
        self.vision_tower = build_deepstack_vit(config["vision_config"])
        self.language_model = build_qwen3_5(text)
        self._step = tell_axes_apart(self.language_model, text, SECTIONS, interleaved=True)

    def sanitize(self, weights: dict[str, mx.array]) -> dict[str, mx.array]:
        """Dropped are the layers that guess further tokens (`mtp.`), which no answer needs."""
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith("mtp.")}
        weights = sanitize_deepstack_vit(rename(weights, NAMES), "vision_tower.", self.vision_tower.config)
        return sanitize_decoder(self.language_model, unpack_experts(weights, self.language_model.args.hidden_size))


FAMILY = Family(
    model_types=("qwen3_5", "qwen3_5_moe"),
    modalities=frozenset({Modality.TEXT, Modality.IMAGE, Modality.VIDEO}),
    build=Qwen35,
    processor=read_pictures,
    clips=read_clips,
    chat_template=TEMPLATE,
    locate=json_places(in_parts(1000)),
)

"""Llama 3.2 with pictures against transformers."""

from dataclasses import replace

import mlx.core as mx
import numpy as np
import torch
from transformers import MllamaConfig, MllamaForConditionalGeneration
from transformers.models.mllama.image_processing_pil_mllama import (
    MllamaImageProcessorPil,
    get_image_size_fit_to_canvas,
    get_optimal_tiled_canvas,
)
from transformers.models.mllama.processing_mllama import MllamaProcessor

from engine.models.recipes.canvas_tiles import CanvasRecipe
from tests.reference import tiny
from tests.reference.parity import Case, VisionParity, difference
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

BOS, PICTURE = SPECIALS = ("<|begin_of_text|>", "<|image|>")

TEXT = {key: value for key, value in tiny.TEXT.items() if key not in ("model_type", "head_dim")} | {
    "num_hidden_layers": 5,
    "cross_attention_layers": [1, 3],
    "pad_token_id": 0,
    "bos_token_id": 256,
    "rope_parameters": {
        "rope_type": "llama3",
        "rope_theta": 500.0,
        "factor": 4.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 16,
    },
}
VISION = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_global_layers": 2,
    "attention_heads": 4,
    "image_size": 16,
    "patch_size": 4,
    "intermediate_layers_indices": [0, 1],
    "vision_output_dim": 96,
}


def grow(model, args, inputs):
    """A new token sees the pictures that the last one saw, as in the reference's `prepare_inputs_for_generation`."""
    mask = inputs.get("cross_attention_mask")
    if mask is not None:
        new = inputs["input_ids"].shape[1] - mask.shape[1]
        mask = torch.cat([mask, mask[:, -1:].expand(-1, new, -1, -1)], dim=1)
    return args, inputs | {"cross_attention_mask": mask}


def mllama(text_config=None, vision_config=None):
    def build(tokenizer):
        model = MllamaForConditionalGeneration(
            MllamaConfig(
                text_config=TEXT | {"vocab_size": len(tokenizer) - 1} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_index=tokenizer.convert_tokens_to_ids(PICTURE),
            )
        )
        model.register_forward_pre_hook(grow, with_kwargs=True)
        return model

    return build


def processor(**changes):
    def build(tokenizer):
        tokenizer.bos_token, tokenizer.image_token = SPECIALS
        tokenizer.image_token_id = tokenizer.convert_tokens_to_ids(PICTURE)
        return MllamaProcessor(MllamaImageProcessorPil(**{"size": {"height": 16, "width": 16}} | changes), tokenizer)

    return build


BEFORE = (
    ("model.vision_model.", "vision_model."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)
MLX = (("model.vision_model.", "vision_tower."), *BEFORE[1:])

BASE = Case(
    "mllama",
    mllama(),
    SPECIALS,
    processor(),
    (
        Spelling("transformers-5", ()),
        Spelling("transformers-4", BEFORE, old_config=True),
        Spelling("mlx-community", MLX, old_config=True, mlx_layout=True),
    ),
    one=f"{BOS}User:{PICTURE}What is it?\nAssistant:",
    two=f"{BOS}User:{PICTURE}And {PICTURE}this?\nAssistant:",
)


class CrossParity(RunnerParity, VisionParity):
    found_before_more = False

    def test_an_answer_sees_what_the_prompt_saw_last(self, pair):
        """Nothing is handed to its tokens; the caches have it."""
        ours, pictures = pair.ours, [tiny.picture("landscape"), tiny.picture("portrait")]
        ids, media = ours.prompt(self.case.two, pictures)
        features = mx.concatenate([ours.model.encode(each) for each in media])
        handed = ours.model.embed(mx.array([ids]), mx.array(ours.slots(ids, media)), features)
        cache = ours.model.make_cache()
        ours.model(mx.array([ids[:-3]]), cache, handed[:, :-3])
        found = [np.array(ours.model(mx.array([[token]]), cache)[0, 0]) for token in ids[-3:]]
        assert difference(np.stack(found), ours.logits(self.case.two, pictures)[-3:]) < 1e-5


class TestMllama(CrossParity):
    case = BASE


class TestSideBySide(CrossParity):
    """Pictures that are seen together; fewer tiles, and the first layer looks at them."""

    case = replace(
        BASE,
        name="mllama, side by side",
        model=mllama(
            {"cross_attention_layers": [0, 3], "num_key_value_heads": 1},
            {
                "max_num_tiles": 2,
                "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]],
                "hidden_act": "gelu_pytorch_tanh",
            },
        ),
        processor=processor(max_image_tiles=2, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]),
        two=f"{PICTURE}{PICTURE}{BOS}And this?\nAssistant:",
        spellings=(),
    )


def test_sizes_are_those_of_the_reference():
    """Of many shapes, strips among them."""
    rng = np.random.default_rng(1)
    recipe = CanvasRecipe.read({}, 560, 4)
    for height, width in [*rng.integers(1, 600, (300, 2)), *rng.integers(1, 5000, (300, 2)), (1, 5000), (5000, 1)]:
        size = (int(height), int(width))
        canvas = get_optimal_tiled_canvas(*size, 4, 560)
        grid = (int(canvas[0]) // 560, int(canvas[1]) // 560)
        assert recipe.grid(size) == grid
        assert recipe.fitted_size(size, grid) == get_image_size_fit_to_canvas(*size, *map(int, canvas), 560)

"""Kimi K2.5 against transformers: pictures and clips."""

import re
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from transformers import Kimi_K25Config, Kimi_K25ForConditionalGeneration
from transformers.models.kimi_k25.image_processing_kimi_k25 import Kimi_K25ImageProcessor, navit_resize
from transformers.models.kimi_k25.processing_kimi_k25 import Kimi_K25Processor
from transformers.models.kimi_k25.video_processing_kimi_k25 import Kimi_K25VideoProcessor

from engine.api.errors import CheckpointError
from engine.models.clips.plan import ClipWish
from engine.models.families.kimi_k25 import FAMILY
from engine.models.media.clip import scaled
from engine.models.recipes.bordered import BorderedRecipe
from tests.reference.clip_parity import CLIPS, ClipParity
from tests.reference.clips import facts_of
from tests.reference.experts import one_by_one
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.running import RunnerParity
from tests.reference.spelling import Spelling

SPECIALS = (
    "<|media_pad|>",
    "<|kimi_k25_video_placeholder|>",
    "<|media_begin|>",
    "<|media_content|>",
    "<|media_end|>",
)

TEXT = {
    "model_type": "deepseek_v3",
    "hidden_size": 48,
    "intermediate_size": 64,
    "moe_intermediate_size": 24,
    "num_hidden_layers": 2,
    "first_k_dense_replace": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": 28,
    "kv_lora_rank": 20,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 10,
    "v_head_dim": 14,
    "n_shared_experts": 1,
    "n_routed_experts": 6,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "routed_scaling_factor": 1.5,
    "rope_parameters": {
        "rope_type": "yarn",
        "rope_theta": 777.0,
        "factor": 8.0,
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": 1.0,
        "mscale_all_dim": 1.0,
        "original_max_position_embeddings": 32,
    },
    "bos_token_id": None,
    "eos_token_id": None,
}

PLAIN = {
    "n_group": 3,
    "topk_group": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 99.0},
}

VISION = {
    "hidden_size": 48,
    "intermediate_size": 56,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "patch_size": 4,
    "pos_emb_height": 7,
    "pos_emb_width": 7,
    "rope_parameters": {"rope_type": "axial", "rope_theta": 300.0},
}

HEADS = VISION["num_attention_heads"]


def authors(state):
    """The tower's names and matrices as its authors have them: neighbours of a head are turned together."""
    fused = {}
    for name, tensor in one_by_one(state).items():
        name = name.replace("model.vision_tower.layers.", "model.vision_tower.blocks.")
        part = re.search(r"\.attn\.([qkv])_proj\.", name)
        if part is None:
            for old, new in (("norm1", "norm0"), ("norm2", "norm1"), ("fc1", "fc0"), ("fc2", "fc1")):
                name = re.sub(rf"(blocks\.\d+\.(?:mlp\.)?){old}\.", rf"\1{new}.", name)
            name = name.replace(".attn.proj.", ".wo.").replace("pos_emb.position_embeddings", "pos_emb.weight")
            fused[name] = tensor
            continue
        if part[1] != "v":
            tensor = tensor.reshape(HEADS, 2, -1, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)
        fused.setdefault(name.replace(f"attn.{part[1]}_proj", "wqkv"), {})[part[1]] = tensor
    return {
        name: torch.cat([parts[part] for part in "qkv"]) if isinstance(parts, dict) else parts
        for name, parts in fused.items()
    }


def converted(state):
    """What mlx-vlm makes of those."""
    return {re.sub(r"\.(wqkv|wo)\.", r".attn.\1.", name): tensor for name, tensor in authors(state).items()}


AUTHORS = (
    ("model.vision_tower.blocks.", "vision_tower.encoder.blocks."),
    ("model.vision_tower.final_layernorm.", "vision_tower.encoder.final_layernorm."),
    ("model.mm_projector.in_proj.", "mm_projector.proj.0."),
    ("model.mm_projector.out_proj.", "mm_projector.proj.2."),
    ("model.language_model.", "language_model.model."),
    ("lm_head.", "language_model.lm_head."),
    ("model.", ""),
)

SPELLINGS = (
    Spelling("transformers-5", (), rework=one_by_one),
    Spelling("authors", AUTHORS, old_config=True, rework=authors),
    Spelling("mlx-community", AUTHORS[2:], old_config=True, mlx_layout=True, rework=converted),
)


def look(model, pixel_values, grid_thw, **kwargs):
    """The reference's own features, but for a division of them among clips that takes each frame's as so many more: it
    fails for every clip, and its result is put together again right behind."""
    seen = model.vision_tower(pixel_values, grid_thw=grid_thw, **kwargs)
    seen.pooler_output = [model.mm_projector(seen.pooler_output).squeeze(1)]
    return seen


def kimi(text_config=None, vision_config=None, **changes):
    def build(tokenizer):
        model = Kimi_K25ForConditionalGeneration(
            Kimi_K25Config(
                text_config=TEXT | {"vocab_size": len(tokenizer)} | (text_config or {}),
                vision_config=VISION | (vision_config or {}),
                image_token_id=tokenizer.convert_tokens_to_ids(SPECIALS[0]),
                video_token_id=tokenizer.convert_tokens_to_ids(SPECIALS[1]),
                **{"projection_hidden_size": 48, "tie_word_embeddings": False} | changes,
            )
        )
        model.model.get_image_features = partial(look, model.model)
        for name, buffer in model.named_buffers():
            if name.endswith("e_score_correction_bias"):
                buffer.copy_(torch.linspace(-0.2, 0.2, len(buffer)))
        return model

    return build


def processor(**changes):
    cut = {"patch_size": 4, "max_patches": 60, "size": {"max_height": 14, "max_width": 14}} | changes
    return lambda tokenizer: Kimi_K25Processor(
        Kimi_K25ImageProcessor(**cut), tokenizer, Kimi_K25VideoProcessor(**cut | {"max_patches": 40, "fps": 4})
    )


SEEN = "<|media_begin|>image<|media_content|><|media_pad|><|media_end|>\n"

BASE = Case(
    "kimi_k25",
    kimi(),
    SPECIALS,
    processor(),
    SPELLINGS,
    one=f"User:{SEEN}What is it?\nAssistant:",
    two=f"User:{SEEN}And {SEEN}this?\nAssistant:",
)


class KimiParity(VisionParity, ClipParity):
    clip = "User:<|kimi_k25_video_placeholder|>What happens?\nAssistant:"
    both = f"User:{SEEN}Then <|kimi_k25_video_placeholder|>and {SEEN}this?\nAssistant:"
    # A few frames are looked at at a time in any case.
    test_a_clip_in_pieces = None


class TestKimi(KimiParity, RunnerParity):
    case = BASE

    def test_the_last_frames_of_a_clip_may_be_fewer(self, clip_pair):
        """The reference looks at such a clip group by group only: together it cannot put them."""
        clip = CLIPS["even"]
        facts = facts_of(clip.frames[:14], clip.fps)
        plan = clip_pair.ours.clips.plan(facts, ClipWish())
        frames = np.stack([scaled(clip.frames[index], plan) for index in plan.indices])
        media = clip_pair.ours.clips.prepare(frames, facts, plan, "")
        assert media.arrays["grids"][:, 0].tolist() == [4, 3]
        grids, patches = torch.tensor(media.arrays["grids"]), torch.tensor(media.arrays["pixel_values"])
        with torch.no_grad():
            theirs = [
                clip_pair.reference.model.get_video_features(group.reshape(-1, 3, 4, 4), grid[None]).pooler_output[0]
                for group, grid in zip(patches.split(grids.prod(1).tolist()), grids, strict=True)
            ]
        assert difference(np.array(clip_pair.ours.model.encode(media)), torch.cat(theirs).numpy()) < TOLERANCE


class TestTied(KimiParity):
    """Plain positions, experts in groups, blocks of nine patches, a tied head."""

    case = replace(
        BASE,
        name="kimi_k25, tied head",
        model=kimi(PLAIN, {"merge_kernel_size": [3, 3], "num_attention_heads": 3}, tie_word_embeddings=True),
        processor=processor(merge_size=3),
        spellings=(),
    )


def test_sizes_are_those_of_the_reference():
    recipe = BorderedRecipe.read({}, 16384)
    rng = np.random.default_rng(1)
    for size in [(1, 5000), (5000, 1), (3, 2), *rng.integers(1, 9000, (500, 2)).tolist()]:
        (height, width), padded = navit_resize(*size, 14, 2, 16384, 512)
        assert recipe.scaled_size(tuple(size)) == (height, width)
        if height * width < 10**6:
            _, grid = recipe(np.zeros((1, height, width, 3), np.uint8))
            assert (grid[1] * 14, grid[2] * 14) == padded


def test_the_words_of_the_authors_are_read(tmp_path):
    """Whose config says `vt_hidden_size` and so on; what their tower has that is not known is refused."""
    config = Pair(replace(BASE, processor=None), tmp_path).reference.config.to_dict()
    vision = {f"vt_{name}": config["vision_config"].pop(name) for name in ("hidden_size", "num_attention_heads")}
    model = FAMILY.build(config | {"vision_config": config["vision_config"] | vision})
    assert model.vision_tower.config.hidden_size == 48
    with pytest.raises(CheckpointError, match="pos_emb"):
        FAMILY.build(config | {"vision_config": config["vision_config"] | vision | {"init_pos_emb_width": 9}})

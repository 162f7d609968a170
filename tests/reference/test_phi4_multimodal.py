"""Phi-4-multimodal with pictures against transformers, in its form and in Microsoft's, with an adapter."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import Phi4MultimodalConfig, Phi4MultimodalForCausalLM
from transformers.models.phi4_multimodal.feature_extraction_phi4_multimodal import Phi4MultimodalFeatureExtractor
from transformers.models.phi4_multimodal.image_processing_phi4_multimodal import Phi4MultimodalImageProcessor
from transformers.models.phi4_multimodal.processing_phi4_multimodal import Phi4MultimodalProcessor

from engine.api.errors import MediaError
from engine.models.recipes.padded_crops import PaddedCropRecipe
from tests.reference import tiny
from tests.reference.ours import Ours
from tests.reference.parity import TOLERANCE, Case, Pair, VisionParity, difference
from tests.reference.spelling import Spelling

PICTURE, SOUND = SPECIALS = ("<|image|>", "<|audio|>")

TEXT = {
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
    "original_max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 0,
    "rope_parameters": {
        "rope_type": "longrope",
        "rope_theta": 300.0,
        "partial_rotary_factor": 0.67,
        "short_factor": [1.0, 1.1, 1.3, 1.2],
        "long_factor": [1.0, 2.0, 4.0, 9.0],
    },
}
VISION = {"hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 1}
"""Of crops as large as those of the published ones: the reference counts features for no others."""

AUDIO = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_blocks": 1,
    "num_attention_heads": 2,
    "nemo_conv_channels": 8,
    "ext_pw_out_channel": 16,
    "depthwise_separable_out_channel": 16,
}


def phi4(tokenizer):
    image, audio = tokenizer.convert_tokens_to_ids(SPECIALS)
    config = Phi4MultimodalConfig(
        **TEXT,
        vocab_size=len(tokenizer),
        vision_config=VISION | {"image_token_id": image},
        audio_config=AUDIO | {"audio_token_id": audio},
    )
    # Its fused attention takes the tower for a causal one where no patch is masked; the plain one does not.
    config._attn_implementation = "eager"
    return Phi4MultimodalForCausalLM(config)


def processor(tokenizer):
    tokenizer.image_token, tokenizer.audio_token = SPECIALS
    tokenizer.image_token_id, tokenizer.audio_token_id = tokenizer.convert_tokens_to_ids(SPECIALS)
    return Phi4MultimodalProcessor(Phi4MultimodalImageProcessor(), Phi4MultimodalFeatureExtractor(), tokenizer)


IMAGE = "model.embed_tokens_extend.image_embed."
MICROSOFT = (
    (f"{IMAGE}img_projection_up.", f"{IMAGE}img_projection.0."),
    (f"{IMAGE}img_projection_down.", f"{IMAGE}img_projection.2."),
    (f"{IMAGE}global_img_feature_extensor", f"{IMAGE}glb_GN"),
    (f"{IMAGE}sub_img_feature_extensor", f"{IMAGE}sub_GN"),
)
BASE = Case(
    "phi4_multimodal",
    phi4,
    SPECIALS,
    processor,
    (Spelling("transformers-5", ()), Spelling("microsoft", MICROSOFT, old_config=True)),
    one=f"<|user|>{PICTURE}What is it?<|end|><|assistant|>",
    two=f"<|user|>{PICTURE}And {PICTURE}this?<|end|><|assistant|>",
    pictures=("landscape", "square"),
)


class TestPhi4Multimodal(VisionParity):
    case = BASE

    def pixels_of(self, inputs):
        return inputs["image_pixel_values"].numpy()

    def test_crops_beside_and_below_each_other(self, pair, row):
        """Some of which the picture does not fill."""
        pictures = [tiny.picture("landscape").resize((600, 460), Image.Resampling.BICUBIC)]
        _, (media,) = pair.ours.prompt(self.case.one, pictures)
        theirs = pair.inputs(self.case.one, pictures)
        assert (media.arrays["masks"] == theirs["image_attention_mask"][0].numpy()).all()
        assert np.abs(media.arrays["pixel_values"] - theirs["image_pixel_values"][0].numpy()).max() < 1e-5
        self.hold(row, pair.ours.logits(self.case.one, pictures), pair.logits(self.case.one, pictures))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """The reference, the same with an adapter added to its decoder's layers, and ours of a checkpoint with both."""
    root = tmp_path_factory.mktemp("adapted")
    base = Pair(BASE, root)
    added = copy.deepcopy(base.reference)
    generator = torch.Generator().manual_seed(1)
    folder = base.root / "microsoft"
    shutil.copytree(base.folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    tensors = {}
    for name, tensor in base.reference.state_dict().items():
        old, new = next(((old, new) for old, new in MICROSOFT if name.startswith(old)), ("", ""))
        layer, _, kind = name.rpartition(".")
        if not name.startswith("model.layers.") or "_proj" not in layer:
            tensors[new + name.removeprefix(old)] = tensor
            continue
        tensors[f"{layer}.base_layer.{kind}"] = tensor
        for adapter, rank in (("vision", 4), ("speech", 3)):
            down, up = (
                0.3 * torch.randn(s, generator=generator) for s in ((rank, tensor.shape[1]), (len(tensor), rank))
            )
            tensors[f"{layer}.lora_A.{adapter}.weight"], tensors[f"{layer}.lora_B.{adapter}.weight"] = down, up
            if adapter == "vision":
                added.get_submodule(layer).weight.data += 2.0 * up @ down
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "phi4mm"}
    config["vision_lora"] = {"r": 4, "lora_alpha": 8}
    (folder / "config.json").write_text(json.dumps(config))
    with_adapter = copy.copy(base)
    with_adapter.reference = added
    return base, with_adapter, Ours(folder)


def logits_under(ours, text, pictures):
    _, media = ours.prompt(text, pictures)
    ours.model.select_adapter(ours.model.adapter_for(tuple(media)))
    return ours.logits(text, pictures)


def test_pictures_are_read_under_an_adapter_and_text_is_not(adapted):
    bare, added, ours = adapted
    pictures = [tiny.picture("landscape")]
    assert difference(logits_under(ours, BASE.one, pictures), added.logits(BASE.one, pictures)) < TOLERANCE
    assert difference(logits_under(ours, BASE.text, []), bare.logits(BASE.text, [])) < TOLERANCE
    assert difference(added.logits(BASE.one, pictures), bare.logits(BASE.one, pictures)) > 100 * TOLERANCE


def test_crops_are_those_of_the_reference():
    """Also of pictures that cover more than there may be."""
    reference, recipe = Phi4MultimodalImageProcessor(dynamic_hd=6), PaddedCropRecipe.read({"dynamic_hd": 6}, 448, 14)
    rng = np.random.default_rng(1)
    for height, width in [*rng.integers(20, 1000, (40, 2)), *rng.integers(300, 3000, (40, 2)), (448, 896), (100, 2000)]:
        size = (int(height), int(width))
        resized, mask = reference.dynamic_preprocess(torch.zeros(3, *size, dtype=torch.uint8), 448, 14, 32, max_num=6)
        grid = recipe.grid(size)
        assert tuple(resized.shape[1:]) == (grid[0] * 448, grid[1] * 448)
        shown = [-(-length // 14) for length in recipe.fitted_size(size, grid)]
        assert shown == [int(mask[:, 0].sum()), int(mask[0].sum())]


def test_a_hairline_is_refused():
    with pytest.raises(MediaError, match="5000"):
        PaddedCropRecipe.read({}, 448, 14)(Image.new("RGB", (5000, 1)))

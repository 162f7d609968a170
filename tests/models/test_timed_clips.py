"""Pictures and clips of Qwen3's models: what a checkpoint's files say, and what is taken where they do not."""

import json

import numpy as np
import pytest
from PIL import Image

from engine.api.errors import CheckpointError, MediaError
from engine.models.clips.plan import ClipFacts, ClipWish
from engine.models.processors.timed_clips import read_clips, read_pictures, timed

CONFIG = {
    "vision_config": {"temporal_patch_size": 2, "patch_size": 16, "spatial_merge_size": 2},
    "image_token_id": 7,
    "video_token_id": 8,
}
FACTS = ClipFacts(np.arange(300) / 30, (1080, 1920), 10.0)


class FakeTokenizer:
    def convert_tokens_to_ids(self, tokens):
        return {"<|image_pad|>": 7, "<|video_pad|>": 8}[tokens]


def test_without_files_patches_are_those_of_the_tower(tmp_path):
    picture = read_pictures(tmp_path, CONFIG, FakeTokenizer()).prepare(Image.new("RGB", (320, 64)), "")
    assert picture.arrays["grid"].tolist() == [1, 8, 36]
    assert picture.arrays["pixel_values"].min() == -1.0
    plan = read_clips(tmp_path, CONFIG, FakeTokenizer()).plan(FACTS, ClipWish())
    assert len(plan.indices) == 20
    assert 20 * plan.size[0] * plan.size[1] <= 768 * 32 * 32


@pytest.mark.parametrize("name", ["video_preprocessor_config.json", "processor_config.json"])
def test_a_file_for_clips_is_read_wherever_it_is(tmp_path, name):
    said = {"fps": 1, "size": {"shortest_edge": 4096, "longest_edge": 25165824}}
    (tmp_path / name).write_text(json.dumps({"video_processor": said} if name.startswith("processor") else said))
    plan = read_clips(tmp_path, CONFIG, FakeTokenizer()).plan(FACTS, ClipWish())
    assert len(plan.indices) == 10
    assert plan.size == (1088, 1920)


@pytest.mark.parametrize(
    ("name", "read"), [("preprocessor_config.json", read_pictures), ("video_preprocessor_config.json", read_clips)]
)
def test_patches_that_the_tower_does_not_take_are_refused(tmp_path, name, read):
    (tmp_path / name).write_text(json.dumps({"patch_size": 14}))
    with pytest.raises(CheckpointError, match=r"\(2, 14, 2\).*\(2, 16, 2\)"):
        read(tmp_path, CONFIG, FakeTokenizer())


def test_words_say_when_the_middle_of_each_step_is():
    seconds = np.array([[0.0, 0.5], [1.0, 1.26]])
    assert timed(seconds, 2) == "".join(
        f"<{moment} seconds><|vision_start|><|video_pad|><|video_pad|><|vision_end|>" for moment in ("0.2", "1.1")
    )


def test_a_strip_is_refused(tmp_path):
    with pytest.raises(MediaError, match="1 x 5000"):
        read_pictures(tmp_path, CONFIG, FakeTokenizer()).prepare(Image.new("RGB", (1, 5000)), "")
    with pytest.raises(MediaError, match="The clip is"):
        read_clips(tmp_path, CONFIG, FakeTokenizer()).plan(ClipFacts(np.arange(9.0), (1, 5000), 9.0), ClipWish())

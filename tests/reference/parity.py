"""The tests every family has to pass: one class, which a family's own test file gives a `case`.

A case builds a tiny random reference (transformers on PyTorch, float32) and says how its processor is called. The
checkpoint it saves is then loaded here, and the two are compared: ids, pixels, logits, greedy tokens.
"""

import copy
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest
import torch
from mlx_lm.models.switch_layers import SwitchLinear
from PIL import Image

from engine.api.conversion import ConvertModel
from engine.api.errors import CheckpointError, MediaError
from engine.api.quantization import Quantization
from engine.device import Device, DeviceKind
from engine.loading.convert import plan_conversion
from engine.loading.convert_files import write
from engine.loading.footprint import measure_caches
from tests.reference import tiny
from tests.reference.measured import Measured
from tests.reference.ours import Ours
from tests.reference.spelling import Spelling, respell

TOLERANCE = 2e-4
"""Of the largest |logit|."""

NEW_TOKENS = 24

ROUNDING = 3
"""How many times further from float32 our bfloat16 may be than the reference's."""

EIGHT_BITS, UNPACKED = 0.2, 1e-3
"""How far a model may move when it is packed, random weights being the hardest to pack; and when it is unpacked."""

KEEPS_DTYPE = Device(DeviceKind.METAL, "a test's", "none", total_memory=1 << 40)
"""Weights are widened on a CPU only."""

Inputs = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One family, or one way of putting it together."""

    name: str
    model: Callable[[Any], torch.nn.Module]
    """Tokenizer -> the reference, of whatever weights."""
    specials: tuple[str, ...] = ()
    processor: Callable[[Any], Any] | None = None
    """Tokenizer -> the reference's processor: called with `text=`, `images=`, `return_tensors=`."""
    spellings: tuple[Spelling, ...] = ()
    text: str = "Hello there, model."
    one: str = "User:<image>What is it?\nAssistant:"
    two: str = "User:<image>And <image>this?\nAssistant:"
    suffix_type: int | None = None
    """The `token_type_ids` of tokens that are generated; those of a prompt of text are 0. `None`: the reference wants
    none of them."""
    pictures: tuple[str, ...] = field(default=tuple(tiny.PICTURES))


class Pair:
    """The reference of a case and ours, of the same checkpoint."""

    def __init__(self, case: Case, root: Path):
        self.case = case
        self.root = root
        self.tokenizer = tiny.tokenizer(case.specials)
        self.reference = tiny.randomise(case.model(self.tokenizer))
        self.processor = case.processor(self.tokenizer) if case.processor else None
        self.banned = [
            number
            for number in self.tokenizer.convert_tokens_to_ids(list(case.specials))
            if number < self.reference.config.get_text_config().vocab_size
        ]
        self.folder = root / "saved"
        self.reference.save_pretrained(self.folder)
        self.tokenizer.save_pretrained(self.folder)
        if self.processor is not None:
            self.processor.image_processor.save_pretrained(self.folder)
        self.ours = Ours(self.folder)

    def in_bfloat16(self) -> "Pair":
        """The same pair, its reference rounded; what goes in is rounded by it."""
        rounded = copy.copy(self)
        rounded.reference = copy.deepcopy(self.reference).to(torch.bfloat16)
        return rounded

    def respelt(self, spelling: Spelling) -> Ours:
        folder = respell(self.reference.state_dict(), self.folder, spelling, self.root / spelling.name)
        return Ours(folder)

    def inputs(self, text: str, pictures: list[Image.Image]) -> Inputs:
        if not pictures:
            ids = torch.tensor([self.tokenizer(text, add_special_tokens=False)["input_ids"]])
            found = {"input_ids": ids, "token_type_ids": torch.zeros_like(ids)}
        else:
            found = self.processor(text=text, images=pictures, return_tensors="pt")
        unwanted = {"labels"} if self.case.suffix_type is not None else {"token_type_ids"}
        return {key: found[key] for key in found if key not in unwanted}

    def logits(self, text: str, pictures: list[Image.Image]) -> np.ndarray:
        with torch.no_grad():
            inputs = {key: self._rounded(value) for key, value in self.inputs(text, pictures).items()}
            return self.reference(**inputs).logits[0].float().numpy()

    def _rounded(self, value: Any) -> Any:
        is_float = isinstance(value, torch.Tensor) and value.is_floating_point()
        return value.to(self.reference.dtype) if is_float else value

    def greedy(self, text: str, pictures: list[Image.Image]) -> list[int]:
        """Without a cache: the plainest there is. Special tokens are left out: the reference takes a picture's marker
        that it wrote itself for a picture."""
        inputs = self.inputs(text, pictures)
        found = []
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                logits = self.reference(**inputs, use_cache=False).logits[0, -1]
                logits[self.banned] = -torch.inf
                found.append(int(logits.argmax()))
                inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([found[-1:]])], dim=1)
                inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
                if "token_type_ids" in inputs:
                    new = torch.tensor([[self.case.suffix_type]])
                    inputs["token_type_ids"] = torch.cat([inputs["token_type_ids"], new], dim=1)
                if "mm_token_type_ids" in inputs:
                    kinds = inputs["mm_token_type_ids"]
                    inputs["mm_token_type_ids"] = torch.cat([kinds, kinds.new_zeros(1, 1)], dim=1)
        return found


def difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """In parts of the largest |logit| of the reference."""
    assert ours.shape == theirs.shape
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


class TextParity:
    """What holds for every family, those without pictures included."""

    case: Case

    @pytest.fixture(scope="class")
    def pair(self, tmp_path_factory) -> Pair:
        return Pair(self.case, tmp_path_factory.mktemp("reference"))

    @pytest.fixture(autouse=True)
    def row(self, parity_table) -> Iterator[Measured]:
        row = parity_table.setdefault(self.case.name, Measured())
        start = time.perf_counter()
        yield row
        row.seconds += time.perf_counter() - start

    def hold(self, row: Measured, ours: np.ndarray, theirs: np.ndarray) -> None:
        measured = difference(ours, theirs)
        row.logits = max(row.logits, measured)
        assert measured < TOLERANCE

    def test_text_alone(self, pair, row):
        self.hold(row, pair.ours.logits(self.case.text, []), pair.logits(self.case.text, []))

    def test_text_alone_greedily(self, pair):
        ours = pair.ours.greedy(self.case.text, [], NEW_TOKENS, pair.banned)
        assert ours == pair.greedy(self.case.text, [])

    def questions(self) -> list[tuple[str, list[Image.Image]]]:
        """Of different lengths, for a batch."""
        return [(self.case.text, []), (self.case.text * 3, []), (self.case.text[:2], [])]

    def test_rows_of_a_batch_are_the_answers_to_each_alone(self, pair):
        asked = self.questions()
        alone = [pair.ours.greedy(text, pictures, NEW_TOKENS) for text, pictures in asked]
        assert pair.ours.greedy_together(asked, NEW_TOKENS) == alone

    def test_bfloat16_is_as_near_as_the_references(self, pair):
        text, pictures = self.questions()[-1]
        exact = pair.logits(text, pictures)
        ours = Ours(pair.folder, KEEPS_DTYPE)
        ours.model.set_dtype(mx.bfloat16)
        if any(isinstance(module, SwitchLinear) for module in ours.model.modules()):
            # MLX cannot do that on a CPU; the day it can, this test will say so.
            with pytest.raises(RuntimeError, match="only supports float32"):
                ours.logits(text, pictures)
            return
        error = difference(ours.logits(text, pictures), exact)
        assert error < ROUNDING * difference(pair.in_bfloat16().logits(text, pictures), exact)
        assert error > TOLERANCE

    def test_caches_can_be_measured(self, pair):
        assert sum(layer.bytes(100) for layer in measure_caches(pair.ours.model)) > 0

    def test_packed_and_unpacked_again(self, pair, tmp_path):
        """In eight bits, as far as its widths can be packed; and the numbers that this leaves, as plain weights."""
        text, pictures = self.questions()[-1]
        packed, plain = tmp_path / "packed", tmp_path / "plain"
        eight_bits = ConvertModel("", packed, Quantization.of(bits=8, group_size=32))
        list(write(plan_conversion(pair.folder, eight_bits), packed))
        list(write(plan_conversion(packed, ConvertModel("", plain, dequantize=True)), plain))
        kept = Ours(packed, KEEPS_DTYPE).logits(text, pictures)
        assert difference(Ours(plain, KEEPS_DTYPE).logits(text, pictures), kept) < UNPACKED
        assert difference(kept, pair.logits(text, pictures)) < EIGHT_BITS

    def test_text_alone_in_every_spelling(self, pair, row):
        theirs = pair.logits(self.case.text, [])
        for spelling in self.case.spellings:
            self.hold(row, pair.respelt(spelling).logits(self.case.text, []), theirs)


class VisionParity(TextParity):
    """What holds for families that see."""

    test_text_alone_in_every_spelling = None

    def questions(self) -> list[tuple[str, list[Image.Image]]]:
        landscape, portrait = tiny.picture("landscape"), tiny.picture("portrait")
        return [(self.case.text, []), (self.case.two, [landscape, portrait]), (self.case.one, [portrait])]

    def pixels_of(self, inputs: Inputs) -> np.ndarray:
        """What of the reference's inputs our pixel values are held against."""
        return inputs["pixel_values"].numpy()

    def test_a_picture_in_every_spelling(self, pair, row):
        pictures = [tiny.picture("landscape")]
        theirs = pair.logits(self.case.one, pictures)
        for spelling in self.case.spellings:
            self.hold(row, pair.respelt(spelling).logits(self.case.one, pictures), theirs)

    def test_ids_and_pixels(self, pair, row):
        for name in self.case.pictures:
            ids, (media,) = pair.ours.prompt(self.case.one, [tiny.picture(name)])
            theirs = pair.inputs(self.case.one, [tiny.picture(name)])
            assert ids == theirs["input_ids"][0].tolist()
            pixels = self.pixels_of(theirs).reshape(media.arrays["pixel_values"].shape)
            row.pixels = max(row.pixels, float(np.abs(media.arrays["pixel_values"] - pixels).max()))
        assert row.pixels < 1e-5

    def test_one_picture_of_every_shape(self, pair, row):
        for name in self.case.pictures:
            pictures = [tiny.picture(name)]
            self.hold(row, pair.ours.logits(self.case.one, pictures), pair.logits(self.case.one, pictures))

    def test_two_pictures_of_different_shapes(self, pair, row):
        pictures = [tiny.picture("landscape"), tiny.picture("portrait")]
        self.hold(row, pair.ours.logits(self.case.two, pictures), pair.logits(self.case.two, pictures))

    @pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1, 1), (3, 2)])
    def test_a_ribbon_and_a_speck_are_looked_at_or_refused(self, pair, size):
        picture = tiny.picture("landscape").resize(size)
        try:
            _, (media,) = pair.ours.prompt(self.case.one, [picture])
        except MediaError:
            return
        features = pair.ours.model.encode(media)
        assert len(features) == media.feature_count
        assert mx.isfinite(features).all()

    def test_without_processor_files_the_familys_own_settings_are_taken_and_said(self, pair, tmp_path):
        folder = shutil.copytree(pair.folder, tmp_path / "bare")
        for name in ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"):
            (folder / name).unlink(missing_ok=True)
        try:
            note = Ours(folder).note
        except CheckpointError:
            # The settings of published models do not fit every tiny tower, and that is said instead.
            return
        assert "no preprocessor file" in note

    def test_a_picture_matters(self, pair):
        """Else the other tests would hold for a model that is blind."""
        first, second = (pair.logits(self.case.one, [tiny.picture(name)])[-1] for name in ("landscape", "strip"))
        assert difference(first, second) > 100 * TOLERANCE

    def test_greedy_tokens_with_a_cache(self, pair):
        pictures = [tiny.picture("portrait")]
        ours = pair.ours.greedy(self.case.one, pictures, NEW_TOKENS, pair.banned)
        assert ours == pair.greedy(self.case.one, pictures)

    def test_a_prompt_in_chunks_that_part_a_picture(self, pair):
        pictures = [tiny.picture("landscape")]
        ids, _ = pair.ours.prompt(self.case.one, pictures)
        step = ids.index(pair.ours.processor.slot_id) + 2
        whole = pair.ours.logits(self.case.one, pictures)
        assert difference(pair.ours.logits(self.case.one, pictures, step), whole) < 1e-5

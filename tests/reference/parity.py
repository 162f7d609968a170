"""The tests every family has to pass: one class, which a family's own test file gives a `case`.

A case builds a tiny random reference (transformers on PyTorch, float32) and says how its processor is called. The
checkpoint it saves is then loaded here, and the two are compared: ids, pixels, logits, greedy tokens.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.reference import tiny
from tests.reference.measured import Measured
from tests.reference.ours import Ours
from tests.reference.spelling import Spelling, respell

TOLERANCE = 2e-4
"""Of the largest |logit|."""

NEW_TOKENS = 8

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
        self.folder = root / "saved"
        self.reference.save_pretrained(self.folder)
        self.tokenizer.save_pretrained(self.folder)
        if self.processor is not None:
            self.processor.image_processor.save_pretrained(self.folder)
        self.ours = Ours(self.folder)

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
            return self.reference(**self.inputs(text, pictures)).logits[0].numpy()

    def greedy(self, text: str, pictures: list[Image.Image]) -> list[int]:
        """Without a cache: the plainest there is."""
        inputs = self.inputs(text, pictures)
        found = []
        with torch.no_grad():
            for _ in range(NEW_TOKENS):
                found.append(int(self.reference(**inputs, use_cache=False).logits[0, -1].argmax()))
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
        assert pair.ours.greedy(self.case.text, [], NEW_TOKENS) == pair.greedy(self.case.text, [])

    def test_text_alone_in_every_spelling(self, pair, row):
        theirs = pair.logits(self.case.text, [])
        for spelling in self.case.spellings:
            self.hold(row, pair.respelt(spelling).logits(self.case.text, []), theirs)


class VisionParity(TextParity):
    """What holds for families that see."""

    test_text_alone_in_every_spelling = None

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

    def test_a_picture_matters(self, pair):
        """Else the other tests would hold for a model that is blind."""
        first, second = (pair.logits(self.case.one, [tiny.picture(name)])[-1] for name in ("landscape", "strip"))
        assert difference(first, second) > 100 * TOLERANCE

    def test_greedy_tokens_with_a_cache(self, pair):
        pictures = [tiny.picture("portrait")]
        assert pair.ours.greedy(self.case.one, pictures, NEW_TOKENS) == pair.greedy(self.case.one, pictures)

    def test_a_prompt_in_chunks_that_part_a_picture(self, pair):
        pictures = [tiny.picture("landscape")]
        ids, _ = pair.ours.prompt(self.case.one, pictures)
        step = ids.index(pair.ours.processor.slot_id) + 2
        whole = pair.ours.logits(self.case.one, pictures)
        assert difference(pair.ours.logits(self.case.one, pictures, step), whole) < 1e-5

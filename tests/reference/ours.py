"""A checkpoint as this engine runs it: loaded, prompted and decoded the way the runner does.

The loading is the engine's own; the decoding is the plainest loop there is, so that it can be believed.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image

from engine.device import Device, DeviceKind
from engine.loading.checkpoint import materialise, prepare
from engine.models.base import PreparedMedia, finished
from engine.models.positions import Positions

CPU = Device(DeviceKind.CPU, "a test's", "none", total_memory=1 << 40)


class Ours:
    def __init__(self, folder: Path, device: Device = CPU):
        checkpoint = prepare(str(folder), folder, device)
        *_, (done, total) = materialise(checkpoint)
        assert done == total
        self.model, self.processor = checkpoint.model, checkpoint.processor
        self.tokenizer = checkpoint.tokenizer
        self.note = checkpoint.info.note

    def prompt(self, text: str, pictures: list[Image.Image]) -> tuple[list[int], list[PreparedMedia]]:
        """The ids of a prompt with a marker for each picture, and the pictures."""
        media = [self.processor.prepare(picture, str(number)) for number, picture in enumerate(pictures)]
        if media:
            first, *rest = text.split(self.processor.marker)
            text = first + "".join(prepared.expansion + part for prepared, part in zip(media, rest, strict=True))
        return self.tokenizer.encode(finished(text, media), add_special_tokens=False), media

    def logits(self, text: str, pictures: list[Image.Image], step: int | None = None) -> np.ndarray:
        """(L, V) of the prompt; prefilled in chunks of `step` tokens with a cache, or at once without one."""
        ids, media = self.prompt(text, pictures)
        cache = None if step is None else self.model.make_cache()
        parts = self._prefill(ids, media, cache, step)
        return np.concatenate([np.array(part.astype(mx.float32)) for part in parts])

    def greedy(self, text: str, pictures: list[Image.Image], count: int, banned: list[int] | None = None) -> list[int]:
        """The likeliest tokens one after the other; those `banned` are never chosen."""
        ids, media = self.prompt(text, pictures)
        never = mx.array(banned or [], dtype=mx.int32)
        cache = self.model.make_cache()
        *_, last = self._prefill(ids, media, cache, len(ids))
        positions = self._positions(ids, media)
        shift = positions.shift if positions else 0
        found = [_likeliest(last[-1], never)]
        while len(found) < count:
            logits = self.model(mx.array([found[-1:]]), cache, shift=shift)
            found.append(_likeliest(logits[0, -1], never))
        return found

    def greedy_together(self, asked: list[tuple[str, list[Image.Image]]], count: int) -> list[list[int]]:
        """Each prompt is prefilled alone; then all of them are decoded in one batch, by mlx-lm's batched caches."""
        prompts = [self.prompt(text, pictures) for text, pictures in asked]
        caches = [self.model.make_cache() for _ in prompts]
        last = []
        for (ids, media), cache in zip(prompts, caches, strict=True):
            *_, logits = self._prefill(ids, media, cache, len(ids))
            last.append(int(logits[-1].argmax()))
        positions = [self._positions(ids, media) for ids, media in prompts]
        shifts = mx.array([found.shift if found else 0 for found in positions])
        together = [layers[0].merge(list(layers)) for layers in zip(*caches, strict=True)]
        rows = [last]
        while len(rows) < count:
            logits = self.model(mx.array(rows[-1])[:, None], together, shift=shifts)
            rows.append(logits[:, -1].argmax(axis=-1).tolist())
        return [list(row) for row in zip(*rows, strict=True)]

    def slots(self, ids: list[int], media: list[PreparedMedia]) -> np.ndarray:
        if not media:
            return np.zeros(0, np.int32)
        return np.flatnonzero(np.array(ids) == self.processor.slot_id).astype(np.int32)

    def _positions(self, ids: list[int], media: list[PreparedMedia]) -> Positions | None:
        return self.model.positions_for(np.array(ids), self.slots(ids, media), tuple(media))

    def _embeddings(self, ids: list[int], media: list[PreparedMedia]) -> mx.array | None:
        if not media:
            return None
        features = mx.concatenate([self.model.encode(prepared) for prepared in media])
        slots = self.slots(ids, media)
        assert features.shape[0] == len(slots) == sum(prepared.feature_count for prepared in media)
        return self.model.embed(mx.array([ids]), mx.array(slots), features)

    def _prefill(
        self, ids: list[int], media: list[PreparedMedia], cache: list | None, step: int | None
    ) -> Iterator[mx.array]:
        embeddings, positions = self._embeddings(ids, media), self._positions(ids, media)
        stops = [] if step is None else self.model.prefill_stops(np.array(ids), step)
        for start, stop in pairwise(sorted({0, *stops, len(ids)})):
            part = None if embeddings is None else embeddings[:, start:stop]
            places = None if positions is None else mx.array(positions.axes[:, None, start:stop])
            yield self.model(mx.array([ids[start:stop]]), cache, part, positions=places)[0]


def _likeliest(logits: mx.array, never: mx.array) -> int:
    return int((mx.put_along_axis(logits, never, mx.array(-mx.inf), axis=0) if never.size else logits).argmax())

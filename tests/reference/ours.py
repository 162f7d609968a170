"""A checkpoint as this engine runs it: loaded, prompted and decoded the way the runner does.

The loading is the engine's own; the decoding is the plainest loop there is, so that it can be believed.
"""

from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np
from PIL import Image

from engine.device import Device, DeviceKind
from engine.loading.checkpoint import materialise, prepare
from engine.models.base import PreparedMedia

CPU = Device(DeviceKind.CPU, "a test's", "none", total_memory=1 << 40)


class Ours:
    def __init__(self, folder: Path, device: Device = CPU):
        checkpoint = prepare(str(folder), folder, device)
        *_, (done, total) = materialise(checkpoint)
        assert done == total
        self.model, self.processor = checkpoint.model, checkpoint.processor
        self.tokenizer = checkpoint.tokenizer

    def prompt(self, text: str, pictures: list[Image.Image]) -> tuple[list[int], list[PreparedMedia]]:
        """The ids of a prompt with a marker for each picture, and the pictures."""
        media = [self.processor.prepare(picture, str(number)) for number, picture in enumerate(pictures)]
        if media:
            first, *rest = text.split(self.processor.marker)
            text = first + "".join(prepared.expansion + part for prepared, part in zip(media, rest, strict=True))
        return self.tokenizer.encode(text, add_special_tokens=False), media

    def logits(self, text: str, pictures: list[Image.Image], step: int | None = None) -> np.ndarray:
        """(L, V) of the prompt; prefilled in chunks of `step` tokens with a cache, or at once without one."""
        ids, media = self.prompt(text, pictures)
        embeddings = self._embeddings(ids, media)
        if step is None:
            return np.array(self.model(mx.array([ids]), None, embeddings)[0])
        cache = self.model.make_cache()
        return np.concatenate([np.array(part) for part in self._prefill(ids, embeddings, cache, step)])

    def greedy(self, text: str, pictures: list[Image.Image], count: int) -> list[int]:
        ids, media = self.prompt(text, pictures)
        cache = self.model.make_cache()
        *_, last = self._prefill(ids, self._embeddings(ids, media), cache, len(ids))
        found = [int(last[-1].argmax())]
        while len(found) < count:
            found.append(int(self.model(mx.array([found[-1:]]), cache)[0, -1].argmax()))
        return found

    def _embeddings(self, ids: list[int], media: list[PreparedMedia]) -> mx.array | None:
        if not media:
            return None
        features = mx.concatenate([self.model.encode(prepared) for prepared in media])
        slots = [place for place, token in enumerate(ids) if token == self.processor.slot_id]
        assert features.shape[0] == len(slots) == sum(prepared.feature_count for prepared in media)
        return self.model.embed(mx.array([ids]), mx.array(slots), features)

    def _prefill(self, ids: list[int], embeddings: mx.array | None, cache: list, step: int) -> Iterator[mx.array]:
        for first in range(0, len(ids), step):
            part = None if embeddings is None else embeddings[:, first : first + step]
            yield self.model(mx.array([ids[first : first + step]]), cache, part)[0]

"""The layers of a tower over some patches at a time, as many as a budget of bytes allows, with pauses between.

Knows no tower. A layer makes queries, keys and values of each patch by itself; with all of these at hand, the rest of
what it does is done for each patch by itself, too. So no more than these is ever held of a large picture as a whole.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import mlx.core as mx

from engine.models.towers.patch_order import Groups

UNBOUNDED = 1 << 62
"""Bytes: of a tower that is to see a picture of any size at once."""

ONE_GROUP = Groups(1)

_BYTES = 4
"""Of a number, as if all were float32."""

Asked = tuple[mx.array, mx.array, mx.array]
"""Queries, keys and values, (N, heads, d) each."""

Pauses = Generator[None, None, mx.array]
"""Pauses between pieces of work, and returns what came of them."""


@dataclass(frozen=True, slots=True)
class LayerSizes:
    width: int
    inner: int
    """Channels in the middle of the feed-forward part."""
    heads: int

    def bytes_a_patch(self, length: int) -> int:
        """What is held for one patch on the way through a layer while it looks at `length` of them."""
        return _BYTES * (8 * self.width + 3 * self.inner + 2 * self.heads * length)

    @property
    def held_a_patch(self) -> int:
        """For the whole picture meanwhile: the patch before and behind the layer, its query, key and value, and one of
        these once more while they are put together."""
        return _BYTES * 6 * self.width


class SlicedLayer(Protocol):
    sizes: LayerSizes

    def asked(self, x: mx.array, *places: mx.array) -> Asked:
        """Of patches (n, D), and what is known of where each of them stands."""
        ...

    def answered(
        self, x: mx.array, queries: mx.array, keys: mx.array, values: mx.array, mask: mx.array | None
    ) -> mx.array:
        """The layer's output (n, D) for patches of G groups whose `queries` are (G, heads, n / G, d); each looks at all
        `keys` and `values` (G, heads, length, d) of its group that the `mask`, (G, 1, 1, length) bool, does not leave
        out."""
        ...


class Slices:
    """One picture's way through a tower."""

    def __init__(self, max_bytes: int) -> None:
        """So many bytes may be held on the way through a layer, and there is a pause whenever they have been used."""
        self._max_bytes = max_bytes
        self._used = 0

    def through(
        self, layer: SlicedLayer, x: mx.array, places: Sequence[mx.array] = (), groups: Groups = ONE_GROUP
    ) -> Pauses:
        """(N, D), and `places` with N rows each -> (N, D). The patches of one group look at each other."""
        length = len(x) // groups.count
        rows = self._rows(layer.sizes.bytes_a_patch(length))
        if rows >= len(x):
            queries, keys, values = layer.asked(x, *places)
            keys, values = _by_head(keys, groups), _by_head(values, groups)
            x = _answered(layer, x, (queries, keys, values), groups, slice(0, len(x)))
            yield from self._paused(x, len(x) * layer.sizes.bytes_a_patch(length))
            return x
        asked: list[Asked] = []
        for part in _cuts(1, len(x), self._rows(layer.sizes.bytes_a_patch(0))):
            made = layer.asked(x[part], *(place[part] for place in places))
            # A part of what one layer made for all three would keep all of it.
            asked.append(tuple(mx.contiguous(y) for y in made))
            mx.eval(asked[-1])
            del made
            yield
        whole = _joined(asked, groups)
        seen: list[mx.array] = []
        for part in _cuts(groups.count, length, rows):
            seen.append(_answered(layer, x[part], whole, groups, part))
            mx.eval(seen[-1])
            yield
        return mx.concatenate(seen)

    def rows(self, function: Callable[[mx.array], mx.array], x: mx.array, bytes_a_row: int) -> Pauses:
        """What a `function` that looks at each row by itself makes of all rows of `x`."""
        rows = self._rows(bytes_a_row)
        if rows >= len(x):
            return function(x)
        seen: list[mx.array] = []
        for part in _cuts(1, len(x), rows):
            seen.append(function(x[part]))
            mx.eval(seen[-1])
            yield
        return mx.concatenate(seen)

    def _rows(self, bytes_a_row: int) -> int:
        return max(1, self._max_bytes // bytes_a_row)

    def _paused(self, x: mx.array, used: int) -> Iterator[None]:
        self._used += used
        if self._used > self._max_bytes:
            self._used = 0
            mx.eval(x)
            yield


def all_at_once(pauses: Pauses) -> mx.array:
    while True:
        try:
            next(pauses)
        except StopIteration as end:
            return end.value


def _joined(parts: list[Asked], groups: Groups) -> Asked:
    """Queries as they are, keys and values by head, as they are read again and again. One after the other, so that no
    more than one of the three is there twice."""
    pieces = [list(piece) for piece in zip(*parts, strict=True)]
    parts.clear()
    queries = mx.concatenate(pieces.pop(0))
    mx.eval(queries)
    keys = mx.contiguous(_by_head(mx.concatenate(pieces.pop(0)), groups))
    mx.eval(keys)
    values = mx.contiguous(_by_head(mx.concatenate(pieces.pop(0)), groups))
    mx.eval(values)
    return queries, keys, values


def _by_head(y: mx.array, groups: Groups) -> mx.array:
    """(N, heads, d) -> (groups, heads, length, d)"""
    return y.reshape(groups.count, -1, *y.shape[1:]).swapaxes(1, 2)


def _cuts(count: int, length: int, rows: int) -> Iterator[slice]:
    """`count` groups of `length`, about `rows` at a time: some whole groups, or a part of one."""
    step = rows // length * length or rows
    ends = [count * length] if rows >= length else range(length, count * length + 1, length)
    first = 0
    for end in ends:
        while first < end:
            behind = min(first + step, end)
            yield slice(first, behind)
            first = behind


def _answered(layer: SlicedLayer, x: mx.array, asked: Asked, groups: Groups, part: slice) -> mx.array:
    """For the patches `x` of this `part`; keys and values lie by head."""
    queries, keys, values = asked
    length = len(queries) // groups.count
    around = slice(part.start // length, -(-part.stop // length))
    some = Groups(around.stop - around.start)
    mask = None if groups.real is None else mx.array(groups.real[around])[:, None, None]
    return layer.answered(x, _by_head(queries[part], some), keys[around], values[around], mask)

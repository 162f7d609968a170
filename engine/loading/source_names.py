"""Under which names a converted model's tensors are written: those of its source, so that who loads that loads this.

Only a decoder whose tensors had to be rearranged, such as one of separate experts, gets the names of the module here,
which are mlx-lm's. A tower stays in the layout of its source, too. Knows nothing of files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import mlx.core as mx

from engine.models.decoders.text import PREFIX

HEAD = "lm_head"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SourceNames:
    written: dict[str, str]
    """By the names in the module. Those have none that are made out of others when they are read: a tower's tensors
    that are rearranged, or a copy of the embeddings."""
    kept: tuple[str, ...]
    """Tensors of the source that are written as they are: those of towers that had to be rearranged."""
    alone: bool
    """Whether there is nothing but a decoder, so that its names begin with its own."""

    def aliases(self, path: str) -> tuple[str, ...]:
        """A decoder's layer as other programs call it: `path` in the module, in the source, and without the level
        that mlx-vlm leaves out in some families. None for one that is made out of another when it is read."""
        if f"{path}.weight" not in self.written:
            return ()
        written = self.written[f"{path}.weight"].removesuffix(".weight")
        if self.alone:
            return tuple(dict.fromkeys((path.removeprefix(PREFIX), written)))
        return tuple(dict.fromkeys((path, path.replace(f"{PREFIX}model.", PREFIX, 1), written)))


def source_names(found: Mapping[str, mx.array], weights: Mapping[str, mx.array], *, alone: bool) -> SourceNames:
    """`found` are the tensors of the source, `weights` the same after the model's `sanitize`; what it only renamed is
    the same array."""
    by_array = {id(array): name for name, array in found.items()}
    origins = {name: by_array.get(id(array)) for name, array in weights.items()}
    as_it_is = all(origin is not None for name, origin in origins.items() if name.startswith(PREFIX))
    written: dict[str, str] = {}
    taken: set[int] = set()
    # The head last: where it is the embeddings, those have the name.
    for name in sorted(origins, key=lambda name: HEAD in name.split(".")):
        origin, array = origins[name], id(weights[name])
        if array in taken:
            continue
        if name.startswith(PREFIX) and not as_it_is:
            written[name] = name.removeprefix(PREFIX) if alone else name
        elif origin is not None:
            written[name] = origin
        taken.add(array)
    sides = _sides(origins)
    left = found.keys() - set(origins.values())
    kept = tuple(name for name in found if name in left and _kept(name, sides, as_it_is))
    return SourceNames(written, kept, alone)


def in_order(named: Mapping[str, T]) -> list[tuple[str, T]]:
    """Layers by number, and what belongs to one side by side."""

    def order(item: tuple[str, T]) -> list[tuple[bool, int, str]]:
        return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in item[0].split(".")]

    return sorted(named.items(), key=order)


def _sides(origins: Mapping[str, str | None]) -> dict[str, set[bool]]:
    """Whether the tensors below each level of the source's names belong to the decoder."""
    sides: dict[str, set[bool]] = {}
    for name, origin in origins.items():
        for level in _levels(origin) if origin is not None else ():
            sides.setdefault(level, set()).add(name.startswith(PREFIX))
    return sides


def _kept(name: str, sides: Mapping[str, set[bool]], as_it_is: bool) -> bool:
    """What the decoder took in another form, or has no use for, is left out; so is, beside a decoder that was
    rearranged, what cannot be told: an extra head's tensors make mlx-lm rearrange the decoder again."""
    known = next(sides[level] for level in _levels(name) if level in sides)
    if len(known) == 1:
        return known == {False}
    return as_it_is and HEAD not in name.split(".")


def _levels(name: str) -> Iterator[str]:
    """The names of everything it is in, from the inside out; the whole is ""."""
    while name:
        name = name.rpartition(".")[0]
        yield name

"""How a model's weights are to be packed: which way, into how many bits, and which layers get more of them.

Knows nothing of models. The words are mlx-lm's.
"""

from dataclasses import dataclass
from enum import Enum

from engine.api.errors import RequestError


class PackingMode(Enum):
    AFFINE = "affine"
    """Whole numbers, with a scale and an offset for each group of weights."""
    MXFP4 = "mxfp4"
    NVFP4 = "nvfp4"
    MXFP8 = "mxfp8"


class Recipe(Enum):
    """Few bits for most layers and more for those that suffer from it, which are told apart as llama.cpp does."""

    MIXED_2_6 = "mixed_2_6"
    MIXED_3_4 = "mixed_3_4"
    MIXED_3_6 = "mixed_3_6"
    MIXED_4_6 = "mixed_4_6"

    @property
    def low_bits(self) -> int:
        return int(self.value.split("_")[1])

    @property
    def high_bits(self) -> int:
        return int(self.value.split("_")[2])


_AFFINE_BITS = (2, 3, 4, 5, 6, 8)
_AFFINE_GROUPS = (32, 64, 128)
_FIXED = {PackingMode.MXFP4: (4, 32), PackingMode.NVFP4: (4, 16), PackingMode.MXFP8: (8, 32)}
"""The only (bits, group size) there is."""


@dataclass(frozen=True, slots=True)
class Quantization:
    """Raises `RequestError` for a combination that does not exist. See `Quantization.of` for what is usual."""

    mode: PackingMode
    bits: int
    group_size: int
    """Weights that share a scale."""
    recipe: Recipe | None = None
    """`bits` are then those of most layers."""

    def __post_init__(self) -> None:
        found = (self.bits, self.group_size)
        if self.mode in _FIXED and found != _FIXED[self.mode]:
            bits, group_size = _FIXED[self.mode]
            raise RequestError(
                f"{self.mode.value} always has {bits} bits and groups of {group_size}.", "Leave both of them out."
            )
        if self.mode is PackingMode.AFFINE and (self.bits not in _AFFINE_BITS or self.group_size not in _AFFINE_GROUPS):
            raise RequestError(
                f"Weights cannot be packed into {self.bits} bits in groups of {self.group_size}.",
                f"Bits can be {_listed(_AFFINE_BITS)}, groups {_listed(_AFFINE_GROUPS)}.",
            )
        if self.recipe is not None and self.mode is not PackingMode.AFFINE:
            raise RequestError(f"{self.recipe.value} is for affine weights, not {self.mode.value}.", "Leave one out.")

    @classmethod
    def of(
        cls,
        mode: PackingMode = PackingMode.AFFINE,
        bits: int | None = None,
        group_size: int | None = None,
        recipe: Recipe | None = None,
    ) -> "Quantization":
        """With what is usual for whatever is left out: 4 bits in groups of 64."""
        if recipe is not None and bits is not None:
            raise RequestError(f"{recipe.value} says itself how many bits there are.", "Leave the bits out.")
        usual_bits, usual_group = _FIXED.get(mode, (4, 64))
        bits = recipe.low_bits if recipe is not None else bits
        return cls(mode, bits or usual_bits, group_size or usual_group, recipe)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers[:-1])) + f" or {numbers[-1]}"

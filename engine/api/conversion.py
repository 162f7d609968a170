"""What is asked for when a model is to be written anew: packed, unpacked, or in another type.

Plain data; knows nothing of how weights are packed.
"""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from engine.api.errors import RequestError
from engine.api.quantization import Quantization


class FloatType(Enum):
    """What weights that are not packed are stored as."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@dataclass(frozen=True, slots=True)
class ConvertModel:
    """Write a model anew in the form of mlx-community, packed or unpacked; answered with `Finished.path`,
    `Finished.model` and, in `Finished.notes`, what could not be done as asked."""

    source: str
    """As for `LoadModel`."""
    target: Path
    """A folder that does not exist yet, or an empty one."""
    quantization: Quantization | None = None
    """How the text decoder is packed; towers and projectors stay as they are. `None` packs nothing."""
    dequantize: bool = False
    """Unpack a model that is packed."""
    float_type: FloatType | None = None
    """`None` leaves it to the model's own config."""
    revision: str | None = None
    download: bool = False
    """Whether a repository that is not on this machine yet may be downloaded."""

    def __post_init__(self) -> None:
        if self.quantization is not None and self.dequantize:
            raise RequestError("A model cannot be quantised and dequantised at once.", "Ask for one of the two.")

"""What the parity tests measure of one case."""

from dataclasses import dataclass


@dataclass
class Measured:
    logits: float = 0.0
    """Largest difference of two logits, in parts of the largest |logit|."""
    pixels: float = 0.0
    seconds: float = 0.0

"""A picture as a whole, at the tower's own size, and always the same words for it in the prompt.

Knows no family: LLaVA, PaliGemma and Gemma 3 bring their own recipe and words.
"""

from dataclasses import dataclass

from PIL import Image

from engine.api.errors import CheckpointError
from engine.api.events import Modality
from engine.models.base import PreparedMedia
from engine.models.recipes.pictures import PictureRecipe, fingerprint


@dataclass(frozen=True, slots=True)
class WholePictureProcessor:
    marker: str
    slot_id: int
    recipe: PictureRecipe
    side: int
    """Of the tower's pictures."""
    expansion: str
    feature_count: int

    def prepare(self, picture: Image.Image, digest: str) -> PreparedMedia:
        pixels = self.recipe(picture)
        if pixels.shape[1:] != (self.side, self.side):
            raise CheckpointError(
                f"The preprocessor file makes a picture of {pixels.shape[2]} x {pixels.shape[1]} pixels, "
                f"the tower takes {self.side} x {self.side}."
            )
        return PreparedMedia(
            modality=Modality.IMAGE,
            arrays={"pixel_values": pixels[None]},
            expansion=self.expansion,
            feature_count=self.feature_count,
            digest=fingerprint(digest, self.recipe),
        )

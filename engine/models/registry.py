"""Which family runs a checkpoint: found by the config's `model_type` among the files of `engine.models.families`.

Knows no family by name but the one for text alone. A new file under `families/` is known by being there.
"""

import pkgutil
from collections.abc import Iterator
from importlib import import_module

from engine.api.errors import CheckpointError
from engine.models import families
from engine.models.base import Config, Family
from engine.models.decoders.text import decoder_classes

TEXT_ONLY = "text_only"

SENSES = ("vision", "visual", "image_", "img_", "mm_", "video", "audio", "speech", "thinker")
"""How the keys begin by which a config tells that its model takes more than text."""


def find_family(config: Config) -> Family:
    """The family of a config. Raises `CheckpointError`, saying what is known, if there is none.

    A model with a tower that is not known here is refused, even where mlx-lm would run its text decoder alone: it
    would answer as if it had seen the picture.
    """
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        raise CheckpointError("The model's config.json has no model_type.", "Is this the folder of a language model?")
    for family in _candidates(model_type):
        if model_type in family.model_types:
            return family
    if not takes_more_than_text(config) and decoder_classes(config) is not None:
        return _family(TEXT_ONLY)
    raise CheckpointError(_unknown(model_type, config), _hint())


def known_model_types() -> tuple[str, ...]:
    """Every `model_type` with a family of its own, sorted; text models that mlx-lm runs come on top of these."""
    return tuple(sorted({name for file in _files() for name in _family(file).model_types}))


def takes_more_than_text(config: Config) -> bool:
    """Whether a config speaks of pictures, sound or video."""
    return any(key.startswith(SENSES) and config[key] is not None for key in config)


def _files() -> list[str]:
    return [module.name for module in pkgutil.iter_modules(families.__path__)]


def _candidates(model_type: str) -> Iterator[Family]:
    """The family whose file bears the name first, so that usually no other file has to be imported."""
    for file in sorted(_files(), key=lambda file: file != model_type.replace("-", "_")):
        yield _family(file)


def _family(file: str) -> Family:
    return import_module(f"{families.__name__}.{file}").FAMILY


def _unknown(model_type: str, config: Config) -> str:
    if takes_more_than_text(config):
        return f"This model is of the type {model_type!r}, which is not known here; it takes more than text."
    return f"This model is of the type {model_type!r}, which is not known here; it looks text-only."


def _hint() -> str:
    return f"Known are {', '.join(known_model_types())}, and the text models that mlx-lm runs, such as llama and qwen3."

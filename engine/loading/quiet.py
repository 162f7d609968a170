"""Silence for transformers' advice to programmers, which a person at a terminal can do nothing about.

Knows nothing of what is done meanwhile; errors are raised as ever.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Within it transformers logs errors only; what was set before comes back afterwards."""
    # Configures the library's logger; later than here it would undo the level set below.
    import transformers.utils.logging  # noqa: F401

    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

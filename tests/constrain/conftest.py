"""The tiny text model, read once."""

import pytest

from tests.constrain.answering import Tiny


@pytest.fixture(scope="session")
def tiny(tiny_llama):
    return Tiny.of(tiny_llama)

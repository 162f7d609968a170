"""What every test shares: the fast BLAS has to be opened before anything imports MLX."""

import pytest

from engine.device import open_blas

open_blas()


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory):
    """A folder with a tiny random text model."""
    from engine.loading.tiny import write_tiny_llama

    return write_tiny_llama(tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def tiny_smolvlm(tmp_path_factory):
    """A folder with a tiny random model that takes pictures."""
    from engine.loading.tiny import write_tiny_smolvlm

    return write_tiny_smolvlm(tmp_path_factory.mktemp("tiny-smolvlm"))

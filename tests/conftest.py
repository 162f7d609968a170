"""What every test shares: the fast BLAS has to be opened before anything imports MLX."""

import pytest

from engine.device import open_blas
from tests.torchvision_import import declare_operators_when_imported

open_blas()
declare_operators_when_imported()


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Where programs under test keep what they would keep below the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FOVEA_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


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

"""The real starter model and what its definition computes on four drawn pictures.

The vectors were made by a PyTorch implementation of the model. `make test` downloads the language side before.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from engine.loading.starter import missing_files, starter_folder
from tests.reference.ours import Ours

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def folder():
    folder = starter_folder()
    if missing := missing_files(folder):
        pytest.fail(f"The starter model is not complete, run `make setup`: {missing} not in {folder}.")
    return folder


@pytest.fixture(scope="session")
def starter(folder):
    return Ours(folder)


@pytest.fixture(scope="session")
def vectors():
    with np.load(HERE / "vectors.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="session")
def described():
    return json.loads((HERE / "vectors.json").read_text())

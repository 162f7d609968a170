"""The table of how near every family is to its reference, printed when the tests are through."""

import pytest
import torch

from tests.reference.measured import Measured

TABLE = pytest.StashKey[dict[str, Measured]]()


def pytest_configure(config):
    config.stash[TABLE] = {}
    # The models are tiny: a second thread only waits for the first.
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def parity_table(pytestconfig):
    """Where tests put what they measured, by the name of their case."""
    return pytestconfig.stash[TABLE]


def pytest_terminal_summary(terminalreporter, config):
    table = config.stash[TABLE]
    if not table:
        return
    terminalreporter.section("parity with the reference")
    terminalreporter.write_line(f"{'case':28} {'logits':>10} {'pixels':>10} {'seconds':>8}")
    for name in sorted(table):
        row = table[name]
        terminalreporter.write_line(f"{name:28} {row.logits:10.1e} {row.pixels:10.1e} {row.seconds:8.1f}")

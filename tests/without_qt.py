"""A pytest plugin: runs the tests as if Qt were not installed (`-p no:pytest-qt -p tests.without_qt`)."""

import pytest

from tests.absent import hide

hide("PySide6", "shiboken6")


def pytest_addoption(parser: pytest.Parser) -> None:
    """The settings of pytest-qt in pyproject.toml, which nobody else knows while it is off."""
    for name in ("qt_api", "qt_log_level_fail", "qt_log_ignore"):
        parser.addini(name, "unused without Qt")

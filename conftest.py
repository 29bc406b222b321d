"""Toys have few windows: a warning of that fails no test and no example."""

import pytest

FEW = "ignore:(a Fano factor of .* windows|(one|no complete) window )"


def pytest_collection_modifyitems(items):
    """Let every test and every example read Fano factors of few windows."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings(FEW))

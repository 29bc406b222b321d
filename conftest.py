"""What every test and every example of a docstring has in common."""

import sys

import pytest


def pytest_collection_modifyitems(items):
    """Let all read statistics of toys: these have few windows, or all of their spikes or none."""
    for item in items:
        item.add_marker(pytest.mark.filterwarnings("ignore::ann2neo.summary.remarks.Remark"))


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")

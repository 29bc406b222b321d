"""The zoo needs other people's libraries; tests of what is not installed are skipped."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="package")
def one_thread():
    """Small models are slower on several threads, and much slower on busy cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

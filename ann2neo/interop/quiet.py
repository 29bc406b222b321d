"""Elephant without two warnings that say nothing to its users."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_elephant() -> Iterator[None]:
    """Suppress two warnings while Elephant works."""
    with warnings.catch_warnings():
        # Elephant 1.2 itself still passes the argument that quantities deprecated
        warnings.filterwarnings("ignore", "The 'copy' argument in Quantity is deprecated")
        # spikes in an incomplete last bin: our own warning counts them
        warnings.filterwarnings("ignore", "Binning discarded")
        yield

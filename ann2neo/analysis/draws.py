"""Spikes drawn at random: independent bins, and trains that are drawn when somebody first uses them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from ..recording.raster import units_at_once

if TYPE_CHECKING:
    import neo


def bernoulli(p: np.ndarray, group: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    r"""Draw each bin of each unit independently, with the spike probability of its group of bins.

    .. math:: P(\text{unit } u \text{ spikes in bin } b) = p_{u, g(b)}

    Parameters
    ----------
    p : numpy.ndarray
        float64 (n_units, n_groups), spike probabilities.
    group : numpy.ndarray
        int64 (n_bins,), the group of each bin: zeros, if a unit has one probability in all bins.
    rng : numpy.random.Generator
        The source of chance. How many units are drawn at once does not change what is drawn.

    Returns
    -------
    numpy.ndarray
        uint8 (n_units, ceil(n_bins / 8)), packed as a :class:`~ann2neo.SpikeRaster` has it.

    Examples
    --------
    >>> p = np.array([[0.0, 1.0], [1.0, 1.0]])
    >>> np.unpackbits(bernoulli(p, np.array([0, 1, 0]), np.random.default_rng(0)), axis=1, count=3)
    array([[0, 1, 0],
           [1, 1, 1]], dtype=uint8)
    """
    packed = np.empty((len(p), -(-len(group) // 8)), np.uint8)
    at_once = units_at_once(len(group))
    for first in range(0, len(p), at_once):
        rows = slice(first, first + at_once)
        of_bins = p[rows][:, group]
        packed[rows] = np.packbits(rng.random(of_bins.shape) < of_bins, axis=1)
    return packed


def no_spikes(n_units: int, n_bins: int) -> np.ndarray:
    """Return a packed raster of silent units, whose trains :func:`fill_lazily` replaces."""
    return np.zeros((n_units, -(-n_bins // 8)), np.uint8)


def fill_lazily(block: neo.Block, draw: Callable[[int, int], neo.SpikeTrain]) -> None:
    """Replace the trains of a block by trains in continuous time, drawn when they are first used.

    Names and annotations of the trains stay.

    Parameters
    ----------
    block : neo.Block
        It is changed.
    draw : callable
        From the numbers of trial and train to the train. It must not depend on the order of the calls.
    """
    from ..interop.description import HEADER
    from ..interop.lazy import LazySpikeTrainList

    # spikes are not at bin centres: without the header, from_neo asks for a bin size
    del block.annotations[HEADER]

    def fill(trial: int, segment: neo.Segment) -> None:
        replaced = segment.spiketrains

        @cache  # a draw takes a hundred times as long as a view of times that are there
        def make(i: int) -> neo.SpikeTrain:
            train = draw(trial, i)
            train.name, train.annotations = replaced[i].name, replaced[i].annotations
            train.segment = segment
            return train

        segment.spiketrains = LazySpikeTrainList(len(replaced), make, segment)

    for trial, segment in enumerate(block.segments):
        fill(trial, segment)

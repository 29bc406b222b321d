"""The statistics of a recording: its rasters added up, or Elephant's functions called on its trains."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import torch

from ..recording.raster import SpikeRaster
from ..recording.recording import Recording
from ..recording.units import Layer
from .kernels.state import WORD
from .kernels.windows import default_window
from .summary import Summary
from .sums.layer_sums import BUFFER

ENGINES = ("raster", "elephant")


def summarize_recording(
    recording: Recording, window: int | None = None, engine: str = "raster", progress: bool = False
) -> Summary:
    """Compute every statistic of every unit of a recording.

    Parameters
    ----------
    recording : Recording
        The spikes.
    window : int, optional
        Bins in a counting window of the Fano factor; by default the longest that leaves 50 windows, 100 at
        most: see :func:`.default_window`. Windows and intervals never span a trial; an incomplete last
        window is dropped.
    engine : {"raster", "elephant"}
        ``"raster"`` adds up the bits of the raster, as it does for a network while stimuli stream by.
        ``"elephant"`` calls Elephant's functions on Neo SpikeTrains. It gives the same values, and takes
        about 10 ms a unit.
    progress : bool
        Show a progress bar (Elephant engine).

    Returns
    -------
    Summary
        With the annotations of the recording.

    Raises
    ------
    ValueError
        If the window is longer than every trial, or the engine is unknown.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 0]])})
    >>> summarize_recording(recording, window=2, engine="elephant").values["fano_factor"].round(3)
    array([0.167, 0.5  ])
    """
    if engine not in ENGINES:
        raise ValueError(f"engine={engine!r}: give one of {ENGINES}")
    time = recording.time
    window = default_window(time.trial_bins) if window is None else window
    time.check_window(window)
    summary = Summary(window, bin_size=time.bin_size, trial_bins=time.trial_bins, isi_histogram=True)
    summary.annotations = deepcopy(dict(recording.annotations))
    _add(recording, summary)
    if engine == "raster":
        return summary
    from .elephant_engine import statistics_by_elephant

    return summary.with_values(statistics_by_elephant(recording, window, progress), engine)


def _add(recording: Recording, summary: Summary) -> None:
    rasters = {name: raster.in_memory() for name, raster in recording.rasters.items()}
    layers = {
        name: Layer(name, (), raster.shape, raster.units, raster.channel_dim)
        for name, raster in rasters.items()
    }
    for first in range(0, recording.n_bins, BUFFER):
        n_bins = min(BUFFER, recording.n_bins - first)
        for name, raster in rasters.items():
            words, n_active = _bits(raster, first, n_bins)
            summary.receive_bits(layers[name], words, n_active, raster.threshold)
        summary.complete(n_bins)


def _bits(raster: SpikeRaster, first: int, n_bins: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return bins of a raster as words, int32 (n_words, n_units), and the spikes in each bin."""
    packed = raster.packed[:, first // 8 : -(-(first + n_bins) // 8)]
    spikes = np.unpackbits(packed, axis=1, count=n_bins)
    n_words = -(-n_bins // WORD)
    little = np.zeros((raster.n_units, n_words * WORD // 8), np.uint8)
    little[:, : packed.shape[1]] = np.packbits(spikes, axis=1, bitorder="little")
    words = torch.from_numpy(little.view("<i4").T.copy())
    return words, torch.from_numpy(spikes.sum(axis=0, dtype=np.int64))

"""The statistics of a recording: its rasters added up, or Elephant's functions called on its trains."""

from __future__ import annotations

from ..recording.recording import Recording
from ..recording.time import PseudoTime
from .summary import Summary

ENGINES = ("raster", "elephant")


def default_window(time: PseudoTime) -> int:
    """Return 100 bins, or the shortest trial where that is shorter."""
    return min(100, *time.trial_bins)


def summarize_recording(
    recording: Recording, window: int | None = None, engine: str = "raster", progress: bool = False
) -> Summary:
    """Compute every statistic of every unit of a recording.

    Parameters
    ----------
    recording : Recording
        The spikes.
    window : int, optional
        Bins in a counting window of the Fano factor; by default 100, or the shortest trial if that is
        shorter. Windows and intervals never span a trial; an incomplete last window is dropped.
    engine : {"raster", "elephant"}
        ``"raster"`` adds up the bits of the raster, as a network's spikes are while they stream.
        ``"elephant"`` calls Elephant's functions on Neo SpikeTrains: the same values, at about 10 ms a
        unit.
    progress : bool
        Show a progress bar (Elephant engine).

    Returns
    -------
    Summary

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
    window = default_window(time) if window is None else window
    time.window_edges(window)  # raises if no trial holds a window
    summary = Summary(window, bin_size=time.bin_size, trial_bins=time.trial_bins, isi_histogram=True)
    summary._add_rasters(recording.rasters)
    if engine == "elephant":
        from .elephant_engine import statistics_by_elephant

        summary._cache["values"] = statistics_by_elephant(recording, window, progress)
        summary.engine = engine
    return summary

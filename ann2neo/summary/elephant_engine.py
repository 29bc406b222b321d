"""The statistics of units as Elephant computes them, on Neo SpikeTrains."""

from __future__ import annotations

from collections.abc import Callable

import elephant.statistics
import neo
import numpy as np
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from tqdm import tqdm

from ..interop.lazy import spiketrain_view
from ..interop.neo_block import to_neo
from ..interop.quiet import quiet_elephant
from ..recording.recording import Recording
from ..recording.time import PseudoTime
from .statistics import STATISTICS


def statistics_by_elephant(
    recording: Recording, window: int, progress: bool = False
) -> dict[str, np.ndarray]:
    """Return the value of every statistic for every unit, each computed by Elephant on SpikeTrains.

    Rates come from :func:`elephant.statistics.mean_firing_rate`, Fano factors from ``fanofactor`` on one
    SpikeTrain a window, intervals from ``isi`` on one SpikeTrain a trial, then ``cv``, ``cv2`` and ``lv``,
    and changes between bins from Elephant's ``BinnedSpikeTrain``. Elephant has no correlation of adjacent
    intervals; NumPy computes it from Elephant's intervals. Over several trials, rates are weighted by
    duration, CV2 and LV by the number of interval pairs.

    Returns
    -------
    dict of str to numpy.ndarray
        float64 (n_units,) for each name in :data:`ann2neo.summary.STATISTICS`.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 0]])})
    >>> statistics_by_elephant(recording, window=2)["mean_firing_rate"]
    array([750., 250.])
    """
    block, time = to_neo(recording), recording.time
    edges = time.window_edges(window) * time.bin_size
    windows = [(first * pq.ms, last * pq.ms) for first, last in edges]
    with quiet_elephant():
        rows = [
            _unit_by_elephant([segment.spiketrains[i] for segment in block.segments], time, edges, windows)
            for i in tqdm(range(recording.n_units), "Elephant", unit=" units", disable=not progress)
        ]
    return {s.name: np.array([row[s.name] for row in rows], np.float64) for s in STATISTICS}


def _unit_by_elephant(
    trains: list[neo.SpikeTrain],
    time: PseudoTime,
    edges: np.ndarray,
    windows: list[tuple[pq.Quantity, pq.Quantity]],
) -> dict[str, float]:
    rates = [elephant.statistics.mean_firing_rate(train).item() for train in trains]  # in 1/ms, as the trains
    p = float(np.average(rates, weights=time.trial_bins)) * time.bin_size

    times = np.concatenate([train.magnitude for train in trains])
    cuts = np.searchsorted(times, edges)
    counted = [spiketrain_view(times[a:b], *ends) for (a, b), ends in zip(cuts, windows, strict=True)]
    n = len(counted)
    # over one window there is no variance; Elephant gives 0
    fano = float(elephant.statistics.fanofactor(counted)) if n > 1 else np.nan
    corrected = fano * n / (n - 1) if n > 1 else np.nan

    isis = [elephant.statistics.isi(train).magnitude for train in trains]
    all_isis = np.concatenate(isis)
    cv = float(elephant.statistics.cv(all_isis)) if len(all_isis) else np.nan
    silent_or_saturated = p == 0 or np.isclose(p, 1, rtol=1e-12)
    return {
        "activation_probability": p,
        "mean_firing_rate": p / time.bin_size * 1e3,
        "fano_factor": fano,
        "relative_fano_factor": np.nan if silent_or_saturated else corrected / (1 - p),
        "mean_isi": float(all_isis.mean()) if len(all_isis) else np.nan,
        "cv_isi": cv,
        "relative_cv_isi": np.nan if silent_or_saturated else cv / np.sqrt(1 - p),
        "cv2_isi": _over_trials(elephant.statistics.cv2, isis),
        "lv_isi": _over_trials(elephant.statistics.lv, isis),
        "serial_correlation_isi": _serial_correlation(isis, cv),
        "transition_probability": _transition_probability(trains, time.bin_size),
    }


def _serial_correlation(isis: list[np.ndarray], cv: float) -> float:
    products = np.concatenate([of_trial[:-1] * of_trial[1:] for of_trial in isis])
    if not len(products) or cv < 1e-9:  # the intervals are equal, apart from the rounding of times
        return np.nan
    intervals = np.concatenate(isis)
    return float((products.mean() - intervals.mean() ** 2) / intervals.var())


def _transition_probability(trains: list[neo.SpikeTrain], bin_size: float) -> float:
    binned = [BinnedSpikeTrain(train, bin_size=bin_size * pq.ms).to_bool_array()[0] for train in trains]
    changes = np.concatenate([np.diff(of_trial) for of_trial in binned])
    return float(changes.mean()) if len(changes) else np.nan


def _over_trials(function: Callable[[np.ndarray], float], isis: list[np.ndarray]) -> float:
    """Average over trials a mean over interval pairs; leave out trials with less than two intervals."""
    usable = [of_trial for of_trial in isis if len(of_trial) >= 2]
    if not usable:
        return np.nan
    return float(np.average([function(x) for x in usable], weights=[len(x) - 1 for x in usable]))

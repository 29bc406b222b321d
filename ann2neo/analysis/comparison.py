"""Recordings of networks and of neurons beside one another, in one table."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..recording.caller import warn_caller
from ..recording.neurons import of_neurons
from ..recording.recording import Recording
from ..summary.kernels.windows import default_window
from ..summary.of_recording import summarize_recording
from ..summary.summary import Summary
from .poisson import fit_poisson

if TYPE_CHECKING:
    import pandas as pd


OF_LAYERS = (
    "dead_fraction",
    "mean_firing_rate_mean",
    "activation_probability_mean",
    "activation_probability_var",
    "fano_factor_mean",
    "fano_factor_var",
    "relative_fano_factor_mean",
    "cv_isi_mean",
    "relative_cv_isi_mean",
    "lv_isi_mean",
)
"""Columns of :attr:`Summary.layers` that are compared."""

OF_FITS = (
    "poisson_dispersion_rejected",
    "binomial_dispersion_rejected",
    "exponential_isi_rejected",
    "geometric_isi_rejected",
    "rescaled_isi_rejected",
    "runs_rejected",
)
"""Columns of :attr:`PoissonFit.layers` that are compared."""


def summarized(
    recordings: Mapping[str, Recording | Summary], window: int | None = None
) -> dict[str, Summary]:
    """Return the summaries of recordings, with counting windows of the same length in bins.

    Parameters
    ----------
    recordings : mapping of str to Recording or Summary
        By name.
    window : int, optional
        Bins in a counting window. By default the window of the summaries, if there are any; else the longest
        that leaves 50 windows in every recording. If summaries have different windows, there is a warning.

    Raises
    ------
    ValueError
        If there are no recordings, or a summary has other windows than ``window``.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> short, long = (Recording({"relu": SpikeRaster.from_dense([[1, 0] * n])}) for n in (10, 100))
    >>> [summary.window for summary in summarized({"short": short, "long": long}).values()]
    [2, 2]
    """
    check_named(recordings)
    made = {name: each.window for name, each in recordings.items() if isinstance(each, Summary)}
    for name, of_summary in made.items():
        if window not in (None, of_summary):
            raise ValueError(
                f"summary {name!r} has windows of {of_summary} bins, but {window} are asked for: make it "
                f"with window={window}, or give its recording"
            )
    if window is None:
        recorded = [each for each in recordings.values() if isinstance(each, Recording)]
        own = [default_window(recording.time.trial_bins) for recording in recorded]
        window = min(made.values()) if made else min(own)
        if len(set(made.values())) > 1:
            each_one = ", ".join(f"{name} {of_summary}" for name, of_summary in made.items())
            warn_caller(
                f"the windows differ in bins: {each_one}. Compare Fano factors of equal windows only: make "
                f"all summaries with window={window}, or give the recordings"
            )
    return {
        name: each if isinstance(each, Summary) else summarize_recording(each, window)
        for name, each in recordings.items()
    }


def check_named(recordings: Any) -> None:
    """Raise TypeError or ValueError unless recordings are given by name, with what to give instead.

    Examples
    --------
    >>> check_named(["one.nwb"])
    Traceback (most recent call last):
    ...
    TypeError: recordings are given by name, but this is a list: give {"one": recording, "other": ...}
    >>> check_named({"one": "one.nwb"})
    Traceback (most recent call last):
    ...
    TypeError: 'one' is a str: give a Recording or Summary, such as ann2neo.load('one.nwb')
    """
    if not isinstance(recordings, Mapping):
        raise TypeError(
            f"recordings are given by name, but this is a {type(recordings).__name__}: give "
            '{"one": recording, "other": ...}'
        )
    if not recordings:
        raise ValueError("there is no recording to compare: give one or more, by name")
    for name, each in recordings.items():
        if not isinstance(each, Recording | Summary):
            example = f", such as ann2neo.load({str(each)!r})" if isinstance(each, str | os.PathLike) else ""
            raise TypeError(f"{name!r} is a {type(each).__name__}: give a Recording or Summary{example}")


def compare(recordings: Mapping[str, Recording | Summary], window: int | None = None) -> pd.DataFrame:
    """Put the statistics of recordings into one table, those of networks beside those of neurons.

    Parameters
    ----------
    recordings : mapping of str to Recording or Summary
        By name.
    window : int, optional
        Bins in a counting window. By default the window of the summaries, if there are any; else the longest
        that leaves 50 windows in every recording. If summaries have different windows, there is a warning.

    Returns
    -------
    pandas.DataFrame
        One row for each layer of each recording and one, ``network``, for all its units: ``recording, layer,
        n_units, n_bins, bin_size`` (ms), ``window, n_windows``; ``n_spikes_merged``, how many spikes of
        neurons share a bin with another and count once, and ``unbinned_firing_rate_mean`` (Hz), the rate with
        them (NaN where that is not known); the means over units :data:`OF_LAYERS` of
        :attr:`Summary.layers`; and the fractions of units rejected :data:`OF_FITS` of
        :attr:`PoissonFit.layers`. Independent bins give a ``relative_fano_factor_mean`` and a
        ``relative_cv_isi_mean`` of 1; a Poisson process in short bins also gives a ``fano_factor_mean``,
        ``cv_isi_mean`` and ``lv_isi_mean`` of 1. Mind :data:`.NETWORKS_AND_NEURONS`.

    Raises
    ------
    ValueError
        If there are no recordings, or a summary has other windows than ``window``.

    Examples
    --------
    >>> import numpy as np
    >>> from ann2neo.recording.time import PseudoTime
    >>> from ann2neo import SpikeRaster
    >>> rng = np.random.default_rng(0)
    >>> relu = SpikeRaster.from_dense(rng.random((30, 2000)) < 0.5)
    >>> v1 = SpikeRaster.from_dense(rng.random((5, 4000)) < 0.02, time=PseudoTime(2.0, (4000,)))
    >>> table = compare({"net": Recording({"relu": relu}), "mouse": Recording({"V1": v1})})
    >>> table[["recording", "layer", "bin_size", "fano_factor_mean", "relative_fano_factor_mean"]].round(1)
      recording    layer  bin_size  fano_factor_mean  relative_fano_factor_mean
    0       net     relu       1.0               0.5                        1.0
    1       net  network       1.0               0.5                        1.0
    2     mouse       V1       2.0               1.0                        1.0
    3     mouse  network       2.0               1.0                        1.0
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    for name, summary in summarized(recordings, window).items():
        fits = fit_poisson(summary).layers.to_dict("records")
        layers = summary.layers.to_dict("records")
        for layer, fit, n_merged in zip(layers, fits, _merged(summary), strict=True):
            seconds = summary.n_bins * summary.bin_size / 1e3 * layer["n_units"]
            rows.append(
                {
                    "recording": name,
                    "layer": layer["layer"],
                    "n_units": layer["n_units"],
                    "n_bins": summary.n_bins,
                    "bin_size": summary.bin_size,
                    "window": summary.window,
                    "n_windows": summary.n_windows,
                    "n_spikes_merged": n_merged,
                    "unbinned_firing_rate_mean": layer["mean_firing_rate_mean"] + n_merged / seconds,
                    **{column: layer[column] for column in OF_LAYERS},
                    **{column: fit[column] for column in OF_FITS},
                }
            )
    return pd.DataFrame(rows)


def _merged(summary: Summary) -> list[float]:
    """Return how many spikes were merged in each layer, and in all; NaN where that is not known."""
    before, n_spikes = summary.n_spikes_before_binning, summary.n_spikes
    unknown = float("nan") if of_neurons(summary.annotations) else 0.0
    merged = [before[name] - n if name in before else unknown for name, n in n_spikes.items()]
    return [*merged, sum(merged)]

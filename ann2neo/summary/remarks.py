"""What has to be known about a summary before its numbers are read, in plain words."""

from __future__ import annotations

from collections.abc import Sequence

from .kernels.windows import FEW_WINDOWS, default_window


class Remark(UserWarning):
    """A warning that :attr:`ann2neo.Summary.remarks` repeats."""


def few_windows(n_windows: int, window: int, trial_bins: Sequence[int]) -> str:
    """Return what to say of Fano factors over so few windows; nothing, if there are 20 or more.

    Parameters
    ----------
    n_windows, window : int
        Complete windows, and the bins in each.
    trial_bins : sequence of int
        Bins in each trial, of which other windows could be made.

    Examples
    --------
    >>> few_windows(5, 100, [500])
    'a Fano factor of 5 windows (of 100 bins) is mostly noise: take shorter windows, window=10 for example'
    >>> few_windows(1, 8, [8])
    'one window (of 8 bins) gives no Fano factor: record more stimuli, 100 or more'
    >>> few_windows(20, 100, [2000])
    ''
    """
    if n_windows >= FEW_WINDOWS:
        return ""
    better, bins = default_window(trial_bins), f"(of {window} bins)" if window > 1 else "(of 1 bin)"
    way_out = f"take shorter windows, window={better} for example"
    if better >= window or sum(n // better for n in trial_bins) < FEW_WINDOWS:
        way_out = "record more stimuli, 100 or more"
    if n_windows < 2:
        return f"{('no complete', 'one')[n_windows]} window {bins} gives no Fano factor: {way_out}"
    return f"a Fano factor of {n_windows} windows {bins} is mostly noise: {way_out}"


def all_or_nothing(where: str, n_spikes: int, n_places: int) -> str:
    """Return what to say if all bins of all units have a spike, or none; else nothing.

    Parameters
    ----------
    where : str
        A layer, or a word for all layers.
    n_spikes, n_places : int
        Spikes, and units times bins.

    Examples
    --------
    >>> all_or_nothing("relu", 0, 50)
    'relu: no unit ever spikes. If that is not what you want, lower the threshold'
    >>> all_or_nothing("relu", 50, 50)
    'relu: every unit spikes in every bin. If that is not what you want, raise the threshold'
    >>> all_or_nothing("relu", 20, 50)
    ''
    """
    if n_spikes not in (0, n_places):
        return ""
    what = "every unit spikes in every bin" if n_spikes else "no unit ever spikes"
    return f"{where}: {what}. If that is not what you want, {'raise' if n_spikes else 'lower'} the threshold"


def lost_in_binning(layer: str, n_spikes: int, n_before: int, seconds: float) -> str:
    """Return what to say of spikes of neurons that were merged into one bin; nothing, if there are none.

    Parameters
    ----------
    layer : str
        The layer.
    n_spikes, n_before : int
        Its spikes, one a bin, and those that there were in these bins.
    seconds : float
        How long its units were observed, all together.

    Examples
    --------
    >>> lost_in_binning("V1", 90, 100, seconds=10.0)
    'V1: 10 of 100 spikes (10.0 %) share a bin with another and count once: 9 Hz, without bins 10 Hz'
    """
    lost = n_before - n_spikes
    if not lost:
        return ""
    return (
        f"{layer}: {lost} of {n_before} spikes ({100 * lost / n_before:.1f} %) share a bin with another and "
        f"count once: {n_spikes / seconds:.4g} Hz, without bins {n_before / seconds:.4g} Hz"
    )

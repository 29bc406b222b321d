"""A recording as the objects of other libraries: Elephant's binned trains, pynapple, xarray."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..recording.annotations import as_json
from ..recording.raster import spike_bins
from ..recording.recording import Recording
from .extras import needed

if TYPE_CHECKING:
    import elephant.conversion
    import pynapple
    import xarray


def to_binned(recording: Recording) -> elephant.conversion.BinnedSpikeTrain:
    """Return a recording as Elephant's binned spike trains, without making trains.

    Parameters
    ----------
    recording : Recording
        The spikes of a network, or of neurons.

    Returns
    -------
    elephant.conversion.BinnedSpikeTrain
        Shape (n_units, n_bins): a row a unit, layer after layer, in the order of ``Recording.units``; sparse,
        8 bytes a spike. All trials follow one another. Where that matters, as in correlations at a lag,
        take one trial at a time: ``recording.select(trials=0).to_binned()``.

    Notes
    -----
    It is a :class:`elephant.conversion.BinnedSpikeTrainView`: Elephant's functions take it, and its matrix is
    not copied. Counts are int32, since in Elephant's sums shorter integers overflow.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 1]])})
    >>> binned = recording.to_binned()
    >>> binned.to_array()
    array([[1, 0, 1, 0], [1, 1, 1, 0], [0, 1, 0, 1]], dtype=int32)
    >>> from elephant.spike_train_correlation import correlation_coefficient
    >>> correlation_coefficient(binned).round(2)
    array([[ 1.  ,  0.58, -1.  ], [ 0.58,  1.  , -0.58], [-1.  , -0.58,  1.  ]])
    """
    import quantities as pq
    import scipy.sparse
    from elephant.conversion import BinnedSpikeTrainView

    rasters = recording.rasters.values()
    counts = np.concatenate([raster.counts for raster in rasters])
    ends = np.cumsum(counts)
    # both of one type, or scipy copies them
    index = scipy.sparse.get_index_dtype(maxval=max(int(ends[-1]), recording.n_bins))
    bins, at = np.empty(ends[-1], index), 0
    for raster in rasters:
        for _, dense in raster.blocks():
            found = spike_bins(dense)
            bins[at : at + len(found)] = found
            at += len(found)
    matrix = scipy.sparse.csr_matrix(
        (np.ones(len(bins), np.int32), bins, np.concatenate([[0], ends]).astype(index)),
        shape=(recording.n_units, recording.n_bins),
    )
    bin_size = recording.time.bin_size
    return BinnedSpikeTrainView(0.0, recording.n_bins * bin_size, bin_size, pq.ms, matrix)


def to_pynapple(recording: Recording) -> pynapple.TsGroup:
    """Return a recording as a pynapple group of time stamps.

    Parameters
    ----------
    recording : Recording
        The spikes of a network, or of neurons.

    Returns
    -------
    pynapple.TsGroup
        One member a unit, numbered in the order of ``Recording.units``; the columns of that table are
        its metadata. Time stamps are bin centres in s. The time support are the trials. All but the last
        are shorter by a microsecond (by a quarter of a bin, if bins are below 4 µs), since two epochs in
        pynapple cannot touch.

    Raises
    ------
    ImportError
        If pynapple is not installed.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> raster = SpikeRaster.from_dense([[1, 0, 1, 0], [0, 0, 0, 1]], units=[3, 8], shape=(10,))
    >>> group = Recording({"relu": raster}).to_pynapple()
    >>> group["unit"].tolist(), group["rate"].tolist()
    ([3, 8], [500.0, 250.0])
    >>> group[0].t
    array([0.0005, 0.0025])
    """
    nap = needed("pynapple", by="to_pynapple", extra="interop")
    bin_size = recording.time.bin_size / 1e3
    edges = recording.time.trial_edges * bin_size
    stops = edges[1:].copy()
    stops[:-1] -= min(1e-6, bin_size / 4)
    trials = nap.IntervalSet(edges[:-1], stops)
    members = [
        nap.Ts((np.flatnonzero(row) + 0.5) * bin_size, time_support=trials)
        for raster in recording.rasters.values()
        for _, dense in raster.blocks()
        for row in dense
    ]
    return nap.TsGroup(members, time_support=trials, bypass_check=True, metadata=recording.units)


def to_xarray(recording: Recording) -> xarray.DataArray:
    """Return a recording as a labelled array, one byte a unit and bin.

    Parameters
    ----------
    recording : Recording
        The spikes of a network, or of neurons.

    Returns
    -------
    xarray.DataArray
        bool (unit, bin), with coordinates along both. A unit has ``layer``, ``unit`` (its index in the
        layer's flattened activation, so other layers have the same ones), ``channel, y, x, threshold``. A
        bin has ``time``, its centre in ms, ``trial``, and if stimuli are known ``stimulus_id`` and
        ``label``. Attributes: ``bin_size`` in ms, and the annotations as JSON.

    Raises
    ------
    ImportError
        If xarray is not installed.

    Examples
    --------
    >>> from ann2neo import SpikeRaster, Stimuli
    >>> raster = SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 1]])
    >>> spikes = Recording({"relu": raster}, Stimuli.in_order(4, labels=[3, 7, 3, 7])).to_xarray()
    >>> spikes.groupby("label").mean("bin").sel(unit=0).to_series().to_dict()
    {3: 1.0, 7: 0.5}
    """
    xr = needed("xarray", by="to_xarray", extra="interop")
    dense, first = np.empty((recording.n_units, recording.n_bins), bool), 0
    for raster in recording.rasters.values():
        for rows, block in raster.blocks():
            dense[first + rows.start : first + rows.stop] = block
        first += raster.n_units
    bins = np.arange(recording.n_bins)
    of_bins: dict[str, Any] = {
        "time": (bins + 0.5) * recording.time.bin_size,
        "trial": recording.time.trial_of(bins),
    }
    if recording.stimuli is not None:
        shown = np.searchsorted(recording.stimuli.onsets, bins, side="right") - 1
        of_bins["stimulus_id"] = recording.stimuli.ids[shown]
    if recording.labels is not None:
        of_bins["label"] = recording.labels
    of_units = {name: np.array(column.tolist()) for name, column in recording.units.items()}
    array: xarray.DataArray = xr.DataArray(
        dense,
        dims=("unit", "bin"),
        coords={name: ("unit", values) for name, values in of_units.items()}
        | {name: ("bin", values) for name, values in of_bins.items()},
        name="spikes",
        attrs={"bin_size": recording.time.bin_size, "annotations": as_json(recording.annotations)},
    )
    return array

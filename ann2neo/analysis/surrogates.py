"""Surrogates of recordings: spikes of the same rates, in which units are independent."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from ..recording.raster import SpikeRaster
from ..recording.recording import Recording
from ..recording.time import milliseconds

BY_STIMULI = ("stimuli", "stimuli_of_a_class")
"""Methods that permute the stimuli, for each unit in another order."""

BY_ELEPHANT = ("dither_spikes", "dither_spike_train", "jitter_spikes", "shuffle_isis", "randomise_spikes")
"""Methods of :func:`elephant.spike_train_surrogates.surrogates`, which move spikes in time."""

WITHOUT_DT = ("shuffle_isis", "randomise_spikes")


def surrogate(recording: Recording, method: str = "stimuli", *, dt: Any = None, seed: int = 0) -> Recording:
    """Return a recording in which units are independent, at the same rates: a null for their correlations.

    ======================= =============================================================================
    ``method``              what stays
    ======================= =============================================================================
    ``stimuli``             counts in each trial: the bins of each unit are permuted within it
    ``stimuli_of_a_class``  counts in each class: only bins with the same label are permuted, so the
                            correlation that stays comes from the classes alone (signal correlation)
    ``dither_spikes`` …     see :func:`elephant.spike_train_surrogates.surrogates`. These methods suit stimuli
                            in an order that means something: in a random order, a spike that is moved by a
                            bin belongs to quite another stimulus
    ======================= =============================================================================

    None of these changes the distribution of a Poisson process in short bins. Those of :data:`BY_STIMULI` and
    ``shuffle_isis`` do not change that of a Bernoulli process either. The others of Elephant move spikes in
    continuous time: of dense trains many fall into a bin that has one, and a bin holds one. Then rates fall
    (p = 0.7 to about 0.5), and with them the relative Fano factor, to about 0.55 where spikes stay near their
    places: no null for such trains.

    Parameters
    ----------
    recording : Recording
        The spikes.
    method : str
        One of :data:`BY_STIMULI` or :data:`BY_ELEPHANT`.
    dt : float (ms) or quantity, optional
        How far spikes are moved; for ``jitter_spikes`` the window in which they are moved. The methods
        ``shuffle_isis``, ``randomise_spikes`` and those of :data:`BY_STIMULI` take no ``dt``.
    seed : int
        The same seed gives the same surrogate. Elephant draws from global random states: these are put back.

    Returns
    -------
    Recording
        With the same stimuli; annotated with ``surrogate`` and ``surrogate_seed``. Elephant's methods, but
        for ``shuffle_isis``, can move several spikes of a unit into one bin: ``n_spikes_merged`` says how
        many were lost. Spikes that are moved out of their trial are lost, too.

    Raises
    ------
    ValueError
        If the method is unknown, ``dt`` is missing or not taken, or the stimuli have no labels.

    Examples
    --------
    Two units always fire together, by their preference for a class alone:

    >>> from ann2neo import Stimuli
    >>> labels = np.arange(1000) % 2
    >>> dense = np.stack([labels == 1, labels == 1])
    >>> recording = Recording({"relu": SpikeRaster.from_dense(dense)}, Stimuli.in_order(1000, labels=labels))
    >>> for method in BY_STIMULI:
    ...     layer = surrogate(recording, method).summarize().layers.iloc[0]
    ...     print(method, round(layer["correlation_mean"], 1) + 0)
    stimuli 0.0
    stimuli_of_a_class 1.0
    """
    if method not in BY_STIMULI + BY_ELEPHANT:
        raise ValueError(f"method={method!r}: give one of {', '.join(BY_STIMULI + BY_ELEPHANT)}")
    if (dt is None) != (method in BY_STIMULI + WITHOUT_DT):
        need = (
            "give dt=, how far spikes are moved in ms"
            if dt is None
            else "this method takes no dt, leave it out"
        )
        raise ValueError(f"dt={dt}, method={method!r}: {need}")
    rng = np.random.default_rng(seed)
    annotations: dict[str, Any] = {**recording.annotations, "surrogate": method, "surrogate_seed": seed}
    if method in BY_STIMULI:
        groups = _groups(recording, method)
        rasters = {name: _permuted(raster, groups, rng) for name, raster in recording.rasters.items()}
    else:
        with _global_states(seed):
            rasters, annotations["n_spikes_merged"] = _moved(recording, method, dt)
    return replace(recording, rasters=rasters, annotations=annotations)


def _groups(recording: Recording, method: str) -> list[np.ndarray]:
    """Return the bins that may change places, group by group."""
    if method == "stimuli":
        of_bin = recording.time.trial_of(np.arange(recording.n_bins))
    elif recording.labels is None:
        raise ValueError(f"method={method!r}, but the stimuli have no labels: give labels= when recording")
    else:
        of_bin = np.unique(recording.labels, return_inverse=True)[1]
    return [np.flatnonzero(of_bin == group) for group in range(of_bin.max() + 1)]


def _permuted(raster: SpikeRaster, groups: list[np.ndarray], rng: np.random.Generator) -> SpikeRaster:
    packed = np.empty((raster.n_units, -(-raster.n_bins // 8)), np.uint8)
    for rows, dense in raster.blocks():
        moved = dense.copy()
        for bins in groups:
            moved[:, bins] = rng.permuted(dense[:, bins], axis=1)
        packed[rows] = np.packbits(moved, axis=1)
    return replace(raster, packed=packed)


def _moved(recording: Recording, method: str, dt: Any) -> tuple[dict[str, SpikeRaster], int]:
    """Return rasters of Elephant's surrogates, and how many spikes fell into a bin that had one."""
    import neo
    import quantities as pq
    from elephant.spike_train_surrogates import surrogates

    from ..interop.neo_block import to_neo

    options = {} if dt is None else {"dt": milliseconds(dt) * pq.ms}
    time = recording.time
    dense = {name: np.zeros((of.n_units, of.n_bins), bool) for name, of in recording.rasters.items()}
    rows = [(name, row) for name, of in recording.rasters.items() for row in range(of.n_units)]
    n_spikes = 0
    for first, segment in zip(time.trial_edges, to_neo(recording).segments, strict=False):
        for (name, row), train in zip(rows, segment.spiketrains, strict=True):
            # jitter_spikes of Elephant 1.2 fails unless trains begin at 0
            from_zero = train.time_shift(-train.t_start)
            n_bins = round(float(from_zero.t_stop.rescale(pq.ms)) / time.bin_size)
            if method == "shuffle_isis":
                # the first interval is shuffled with the others: it must be whole bins, as they are
                shifted = from_zero.magnitude + time.bin_size / 2
                from_zero = neo.SpikeTrain(shifted, units="ms", t_stop=(n_bins + 1) * time.bin_size)
            moved = surrogates(from_zero, method=method, **options)[0] if len(train) else from_zero
            since = moved.rescale(pq.ms).magnitude
            if method == "shuffle_isis":  # from the ends of bins to their centres again
                since = (np.rint(since / time.bin_size) - 0.5) * time.bin_size
            # a spike on the end of its trial belongs to the last bin
            dense[name][row, first + np.minimum(np.floor(since / time.bin_size).astype(int), n_bins - 1)] = (
                True
            )
            n_spikes += len(moved)
    rasters = {
        name: replace(raster, packed=np.packbits(dense[name], axis=1))
        for name, raster in recording.rasters.items()
    }
    return rasters, n_spikes - sum(of.n_spikes for of in rasters.values())


@contextmanager
def _global_states(seed: int) -> Iterator[None]:
    """Seed the global random states, which Elephant draws from, and put them back."""
    of_numpy, of_python = np.random.get_state(), random.getstate()
    try:
        np.random.seed(seed)
        random.seed(seed)
        yield
    finally:
        np.random.set_state(of_numpy)
        random.setstate(of_python)

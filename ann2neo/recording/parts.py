"""The part of a recording that somebody asks for: which layers, rows of rasters, and bins it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .by_layer import key_for, matches
from .raster import SpikeRaster
from .time import PseudoTime


def layers_named(wanted: str | Sequence[str], layers: list[str]) -> list[str]:
    """Return the layers that names or globs match, in firing order.

    Raises
    ------
    ValueError
        If one of them matches no layer.

    Examples
    --------
    >>> layers_named(["fc", "conv*"], ["conv1", "conv2", "fc", "out"])
    ['conv1', 'conv2', 'fc']
    """
    patterns = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [pattern for pattern in patterns if not any(matches(pattern, layer) for layer in layers)]
    if unknown or not patterns:
        raise ValueError(f"no layer matches {unknown or patterns}; the recording has {layers}")
    return [layer for layer in layers if any(matches(pattern, layer) for pattern in patterns)]


def rows_of(units: Any, chosen: list[str], rasters: Mapping[str, SpikeRaster]) -> dict[str, np.ndarray]:
    """Return the rows of the units asked for, in each chosen layer for which something is asked.

    Parameters
    ----------
    units : array of int, dict, or array of bool
        As for :meth:`ann2neo.Recording.select`.
    chosen : list of str
        The layers to look at.
    rasters : mapping of str to SpikeRaster
        All layers of the recording.

    Raises
    ------
    ValueError
        If there is no such unit, a key of a dict matches no layer, or a mask has another shape.

    Examples
    --------
    >>> rasters = {name: SpikeRaster.from_dense([[1], [0]], units=[4, 7]) for name in ("conv", "fc")}
    >>> rows_of({"*": 7, "fc": [7, 4]}, ["conv", "fc"], rasters)
    {'conv': array([1]), 'fc': array([1, 0])}
    """
    if isinstance(units, Mapping):
        for key in units:
            layers_named(key, list(rasters))  # raises if there is no such layer
        keys = {layer: key_for("units", units, layer) for layer in chosen}
        wanted = {layer: units[key] for layer, key in keys.items() if key is not None}
    else:
        given = np.asarray(units)
        if given.dtype == bool:
            return _rows_of_mask(given, rasters)
        wanted = dict.fromkeys(chosen, given)
    return {layer: _rows_of_units(layer, rasters[layer], of_layer) for layer, of_layer in wanted.items()}


def _rows_of_mask(mask: np.ndarray, rasters: Mapping[str, SpikeRaster]) -> dict[str, np.ndarray]:
    ends = np.cumsum([raster.n_units for raster in rasters.values()])
    if mask.shape != (ends[-1],):
        raise ValueError(f"a mask over units has shape ({ends[-1]},), not {mask.shape}")
    parts = np.split(mask, ends[:-1])
    return {layer: np.flatnonzero(part) for layer, part in zip(rasters, parts, strict=True)}


def _rows_of_units(layer: str, raster: SpikeRaster, units: Any) -> np.ndarray:
    row_of = {unit: row for row, unit in enumerate(raster.units.tolist())}
    wanted = np.atleast_1d(units).tolist()
    missing = [unit for unit in wanted if unit not in row_of]
    if missing:
        raise ValueError(f"layer {layer!r} has no recorded unit {missing[0]}")
    return np.array([row_of[unit] for unit in wanted], dtype=np.int64)


def in_trials(trials: Any, time: PseudoTime) -> np.ndarray:
    """Return which bins lie in these trials: bool (n_bins,).

    Raises
    ------
    ValueError
        If there is no such trial.

    Examples
    --------
    >>> in_trials(-1, PseudoTime(1.0, (2, 1))).tolist()
    [False, False, True]
    """
    numbers = np.arange(time.n_trials)
    wanted = trials if isinstance(trials, slice) else np.asarray(trials, dtype=np.int64)
    try:
        numbers = np.atleast_1d(numbers[wanted])
    except IndexError:
        numbers = numbers[:0]
    if not len(numbers):
        raise ValueError(f"trials={trials!r}: the recording has trials 0 to {time.n_trials - 1}")
    return np.isin(time.trial_of(np.arange(time.n_bins)), numbers)


def with_labels(labels: Any, of_bins: np.ndarray | None) -> np.ndarray:
    """Return in which bins a stimulus of one of these labels was shown: bool (n_bins,).

    Raises
    ------
    ValueError
        If there are no labels, or no such label.

    Examples
    --------
    >>> with_labels("cat", np.array(["cat", "dog"])).tolist()
    [True, False]
    """
    if of_bins is None:
        raise ValueError(f"labels={labels!r}: the recording has no labels")
    unknown = [label for label in np.atleast_1d(labels).tolist() if label not in of_bins]
    if unknown or not np.size(labels):
        known = ", ".join(map(str, np.unique(of_bins)[:20]))
        raise ValueError(f"no stimulus is labelled {unknown[:1] or labels}; there are {known}")
    return np.isin(of_bins, np.atleast_1d(labels))

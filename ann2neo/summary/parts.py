"""One presentation in parts: which stimuli each part has, and how files of parts become one summary.

Several processes can share a presentation. Wherever they come from (Dask, Ray, array jobs of Slurm), the
recipe is the same. Let task ``i`` of ``n`` do ::

    first, stop = stretch(len(stimuli), batch_size, i, n)
    given = {"start": first, "n_stimuli": len(stimuli), "batch_size": batch_size}
    part = ann2neo.summarize(model, stimuli[first:stop], layers="*", **given)

unless its stretch is empty. Return ``part`` (it can be pickled), or ``part.save(f"part-{i}.npz")``. Merge by
``ann2neo.merge(parts)`` or, on the command line, ``ann2neo merge part-*.npz``. The result is the one that a
single process would have given, bit for bit if all processes round alike: if they have the same library
versions, kind of device and number of threads. Processes that torchrun started merge by
:mod:`ann2neo.summary.processes`.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from .npz import place_of
from .summary import OF_ONE_RUN, Summary

NOT_COMPARED = {*OF_ONE_RUN, "recorded_at"}
"""Annotations in which the parts of one presentation may differ."""


def stretch(n_stimuli: int, batch_size: int, part: int, n_parts: int) -> tuple[int, int]:
    """Return the first and the end of the stimuli that one of several processes shows.

    Stretches are contiguous and of whole batches, since a batch of another size can round differently. Only
    the last batch of all may be short. If there are fewer batches than parts, the last parts are empty.

    Raises
    ------
    ValueError
        If the numbers do not fit.

    Examples
    --------
    >>> [stretch(230, 32, part, 3) for part in range(3)]
    [(0, 96), (96, 192), (192, 230)]
    >>> [stretch(50, 32, part, 3) for part in range(3)]
    [(0, 32), (32, 50), (50, 50)]
    """
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give at least one")
    if not 0 <= part < n_parts:
        raise ValueError(f"part={part} of {n_parts}: parts are counted from 0 to {n_parts - 1}")
    each, n_longer = divmod(-(-n_stimuli // batch_size), n_parts)
    first, stop = (min(n_stimuli, (each * i + min(i, n_longer)) * batch_size) for i in (part, part + 1))
    return first, stop


def merge_files(paths: Iterable[str | os.PathLike[str]]) -> Summary:
    """Merge the parts of one stretch from files, named in any order; two at a time are in memory.

    If the annotations of two parts differ, say in the data set, there is a warning.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a part is lacking or there twice, if parts differ in settings, layers or thresholds, or if a file
        is damaged. The error names the files.

    Examples
    --------
    >>> import tempfile, torch
    >>> x = torch.rand(300, 5) - 0.5
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in (0, 100, 200):
    ...         _ = Summary(7, start=i).update({"relu": x[i : i + 100]}).save(f"{folder}/{i}.npz")
    ...     merge_files(Path(folder).iterdir()).units.equals(Summary(7).update({"relu": x}).units)
    True
    """
    ordered = sorted(map(Path, paths), key=place_of)
    if not ordered:
        raise ValueError("there is nothing to merge: name at least one file")
    whole = Summary.load(ordered[0])
    for before, path in pairwise(ordered):
        part = Summary.load(path)
        try:
            merged = whole.merge(part)
        except ValueError as error:
            raise ValueError(f"{before} and {path}: {error}") from error
        for name in sorted((whole.annotations.keys() | part.annotations.keys()) - NOT_COMPARED):
            one, other = whole.annotations.get(name), part.annotations.get(name)
            if one != other:
                warnings.warn(f"{before} and {path} differ in {name}: {one} and {other}", stacklevel=2)
        whole = merged
    return whole

"""Stimuli in a stored order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from .preparation import UNPREPARED


@dataclass(frozen=True, eq=False, repr=False)
class StimulusSet(Dataset[Any]):
    """Stimuli in the order in which they will be shown; a map-style torch Dataset.

    An item is the stimulus, or (stimulus, label) if there are labels. A slice is a StimulusSet again:
    ``data[:2000]`` to show and ``data[2000:2500]`` to calibrate thresholds on have no stimulus in common.

    Parameters
    ----------
    name : str
        Name or path it was loaded from.
    fetch : callable
        Returns the stored stimulus of an id.
    ids : numpy.ndarray
        int64 (n_stimuli,), the place of each stimulus in the data set or file. Give it to
        :func:`ann2neo.record` as ``ids``.
    labels : numpy.ndarray, optional
        (n_stimuli,), the class of each.
    classes : tuple of str
        Names of the classes 0, 1, …, where they are known.
    prepare : callable
        Makes each stimulus into what the model takes.
    files : tuple of str
        For each id the name of its file in the folder, where it has one.
    """

    name: str
    fetch: Callable[[int], torch.Tensor]
    ids: np.ndarray
    labels: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    prepare: Callable[[torch.Tensor], torch.Tensor] = UNPREPARED
    files: tuple[str, ...] = ()

    @property
    def array_annotations(self) -> dict[str, np.ndarray]:
        """The ``file`` of each stimulus, if it has one: for :func:`ann2neo.record`."""
        return {"file": np.array(self.files)[self.ids]} if self.files else {}

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            return self.take(i)
        stimulus = self._stimulus(i)
        if stimulus.shape != self.shape:
            raise ValueError(
                f"stimulus {self.ids[i]} of {self.name} has shape {tuple(stimulus.shape)}, the first one "
                f"{tuple(self.shape)}: bring them to one size (size=, on the command line --size)"
            )
        return stimulus if self.labels is None else (stimulus, self.labels[i].item())

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _stimulus(self, i: int) -> torch.Tensor:
        return self.prepare(self.fetch(int(self.ids[i])))

    def take(self, which: Any) -> StimulusSet:
        """Return chosen stimuli, in the order in which they are chosen."""
        return replace(self, ids=self.ids[which], labels=None if self.labels is None else self.labels[which])

    @cached_property
    def shape(self) -> torch.Size:
        """Shape of a stimulus."""
        return self._stimulus(0).shape

    def __repr__(self) -> str:
        return f"StimulusSet({self.name!r}, {len(self)} stimuli)"


def from_arrays(name: str, stimuli: Any, labels: Any = None, classes: tuple[str, ...] = ()) -> StimulusSet:
    """Return the stimuli of an array, one along its first dimension, with their labels.

    Raises
    ------
    ValueError
        If the stimuli are not real numbers, or there is not one label for each.
    """
    x, y = (_as_array(name, values) for values in (stimuli, labels))
    if x is None or x.ndim == 0 or x.dtype.kind not in "fiub":
        raise ValueError(
            f"the stimuli in {name} are not an array of real numbers: give an array (n_stimuli, …)"
        )
    if y is not None and y.shape != (len(x),):
        raise ValueError(
            f"labels of shape {y.shape} for {len(x)} stimuli in {name}: give one number or name for each"
        )
    # torch knows native byte order only, and few unsigned types
    dtype = {"f": np.float32, "b": np.float32}.get(
        x.dtype.kind, np.uint8 if x.dtype == np.uint8 else np.int64
    )
    return StimulusSet(
        name, lambda i: torch.from_numpy(np.array(x[i], dtype)), np.arange(len(x)), y, tuple(classes)
    )


def _as_array(name: str, values: Any) -> np.ndarray | None:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        array: np.ndarray = (values.float() if values.is_floating_point() else values).numpy()
        return array
    if values is None or isinstance(values, np.ndarray):
        return values
    try:
        return np.asarray(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error

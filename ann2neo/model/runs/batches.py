"""Stimuli in batches, from whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data import (
    DataLoader,
    Dataset,
    RandomSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    default_collate,
)

from ..hooks.stimuli.call import PAD_IT, is_graph
from .batch import Batch, batch_of, first_tensor


@dataclass(frozen=True)
class Arranged:
    """All stimuli in one array, or in arrays by name, of which it is known which dimension is the stimuli.

    Parameters
    ----------
    stimuli : torch.Tensor, numpy.ndarray or mapping of these
    dim : int
        The dimension that is the stimuli: 0, or 1 where the steps come first.
    """

    stimuli: Any
    dim: int

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        first = first_tensor(self.stimuli) if isinstance(self.stimuli, Mapping) else self.stimuli
        return int(first.shape[self.dim])

    def part(self, begin: int, end: int) -> Any:
        """Return some of the stimuli."""
        if not isinstance(self.stimuli, Mapping):
            return self.stimuli[(slice(None),) * self.dim + (slice(begin, end),)]
        return {name: self._part_of(name, values, begin, end) for name, values in self.stimuli.items()}

    def _part_of(self, name: str, values: Any, begin: int, end: int) -> Any:
        n = self.n_stimuli
        shape = tuple(getattr(values, "shape", ()))
        dims = [dim for dim in range(self.dim + 1) if shape[dim : dim + 1] == (n,)]
        if not dims:
            return values
        if len(dims) > 1 and values is not first_tensor(self.stimuli):
            raise ValueError(
                f"{name!r} has shape {shape}, and there are {n} stimuli: its first or its second dimension "
                "could be the stimuli. Give batches of your own, as a list of dicts"
            )
        return values[(slice(None),) * dims[-1] + (slice(begin, end),)]


def number_of_stimuli(stimuli: Any) -> int | None:
    """Return how many stimuli there will be, or None if that is not known.

    Examples
    --------
    >>> number_of_stimuli(np.zeros((5, 2))), number_of_stimuli(iter([]))
    (5, None)
    """
    if isinstance(stimuli, Arranged):
        return stimuli.n_stimuli
    if is_graph(stimuli):
        return batch_of(stimuli).n_stimuli
    if isinstance(stimuli, Mapping):
        return len(first_tensor(stimuli))
    if not isinstance(stimuli, DataLoader):
        sized = isinstance(stimuli, Dataset | torch.Tensor | np.ndarray) and hasattr(stimuli, "__len__")
        return len(stimuli) if sized else None
    try:
        n_stimuli = len(stimuli.sampler)  # type: ignore[arg-type]
    except TypeError:
        return None
    return (
        n_stimuli - n_stimuli % stimuli.batch_size if stimuli.drop_last and stimuli.batch_size else n_stimuli
    )


def check_order(stimuli: Any, told: Iterable[str]) -> None:
    """Check that stimuli do not come in a random order, if something is told of each in order.

    Raises
    ------
    ValueError
        If a DataLoader draws them.

    Examples
    --------
    >>> check_order(DataLoader(range(4), shuffle=True), ["labels"])
    Traceback (most recent call last):
    ...
    ValueError: labels= are given in order, but the DataLoader draws the stimuli (RandomSampler): ...
    """
    names = [f"{name}=" for name in told]
    if not names or not isinstance(stimuli, DataLoader):
        return
    # a batch sampler may have a sampler of its own, which decides
    for sampler in (stimuli.sampler, stimuli.batch_sampler, getattr(stimuli.batch_sampler, "sampler", None)):
        if isinstance(sampler, _RANDOM) or getattr(sampler, "shuffle", False) is True:
            raise ValueError(
                f"{', '.join(names)} are given in order, but the DataLoader draws the stimuli "
                f"({type(sampler).__name__}): give shuffle=False, or let the data set return (x, label)"
            )


_RANDOM = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler)


def batches(stimuli: Any, batch_size: int, model: nn.Module, *, lengths: Any = None) -> Iterator[Batch]:
    """Yield batches of stimuli.

    Parameters
    ----------
    stimuli : DataLoader, Dataset, iterable of batches, array, or mapping
        What :func:`ann2neo.record` takes; or all of them, arranged.
    batch_size : int
        Stimuli in a batch, where batches are made here.
    model : torch.nn.Module
        NumPy's floats are given its precision.
    lengths : array, optional
        int (n_stimuli,), steps of each stimulus that are not padding.

    Raises
    ------
    TypeError
        If the stimuli are not a DataLoader, Dataset, array, arguments by name or iterable of batches.
    ValueError
        If there is no stimulus, ``batch_size`` is less than one, or ``lengths`` has another length.

    Examples
    --------
    >>> [len(batch) for batch in batches(np.zeros((5, 2)), 2, nn.ReLU())]
    [2, 2, 1]
    """
    n_before = 0
    if lengths is not None:
        check_order(stimuli, ["lengths"])
    if _is_whole(stimuli):
        stimuli = Arranged(stimuli, 0)
    raw_batches = _raw_batches(stimuli, batch_size)
    for raw in raw_batches:
        batch = batch_of(raw, model)
        if batch.n_stimuli is None:
            batch = replace(batch, n_stimuli=_number_in(raw_batches, batch))
        if not len(batch):
            continue
        if lengths is not None:
            shown = torch.as_tensor(lengths)[n_before : n_before + len(batch)]
            if len(shown) < len(batch):
                raise ValueError(
                    f"{len(lengths)} lengths for {n_before + len(batch)} stimuli or more: give one for each"
                )
            batch = replace(batch, shown=shown)
        n_before += len(batch)
        yield batch
    if not n_before:
        given = stimuli.stimuli if isinstance(stimuli, Arranged) else stimuli
        raise ValueError(f"there are no stimuli in the {type(given).__name__}")
    if lengths is not None and len(lengths) != n_before:
        raise ValueError(f"{len(lengths)} lengths for {n_before} stimuli: give one for each")


def _is_whole(stimuli: Any) -> bool:
    """Tell whether all stimuli are in one array, or in arrays by name."""
    return isinstance(stimuli, Mapping | torch.Tensor | np.ndarray) and not is_graph(stimuli)


def _number_in(raw_batches: Any, batch: Batch) -> int | None:
    """Return how many stimuli there are in a batch, or None where its first or second dimension may be."""
    if isinstance(batch.inputs, PackedSequence):
        return len(batch)
    if isinstance(raw_batches, _Cut):
        return int(batch.shape[raw_batches.arranged.dim])
    if isinstance(raw_batches, DataLoader) and raw_batches.collate_fn is default_collate:
        return batch.shape[0]  # it stacks stimuli
    labels = getattr(batch.labels, "shape", (None,))
    return labels[0] if len(labels) == 1 and labels[0] in batch.shape[:2] else None


@dataclass(frozen=True)
class _Cut:
    """Batches that are cut here."""

    arranged: Arranged
    batch_size: int

    def __iter__(self) -> Iterator[Any]:
        n, size = self.arranged.n_stimuli, self.batch_size
        return (self.arranged.part(i, min(i + size, n)) for i in range(0, n, size))


def _collate(stimuli: Any) -> Any:
    """Return what makes a batch of items of a Dataset: graphs do not stack."""
    first = stimuli[0] if len(stimuli) else None
    if isinstance(first, Mapping) or not is_graph(first):
        return default_collate
    return import_module("torch_geometric.data").Batch.from_data_list


def _raw_batches(stimuli: Any, batch_size: int) -> Iterable[Any]:
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give at least one")
    if isinstance(stimuli, Arranged):
        if getattr(stimuli.stimuli, "is_nested", False):
            raise TypeError(f"stimuli is a nested tensor: {PAD_IT}")
        if getattr(stimuli.stimuli, "layout", torch.strided) != torch.strided:
            raise TypeError("stimuli is a sparse tensor: give stimuli.to_dense()")
        if getattr(stimuli.stimuli, "ndim", 1) == 0:
            raise ValueError("stimuli is one number: give an array whose first dimension is the stimuli")
        return _Cut(stimuli, batch_size)
    if is_graph(stimuli):
        return [stimuli]  # it has all nodes that its edges name
    if isinstance(stimuli, Dataset) and not isinstance(stimuli, torch.utils.data.IterableDataset):
        return DataLoader(stimuli, batch_size, collate_fn=_collate(stimuli))
    if isinstance(stimuli, tuple) and len(stimuli) == 2 and getattr(stimuli[1], "ndim", 0) == 1:
        raise TypeError(
            "stimuli is a pair, (x, y): if y are labels, call record(model, x, labels=y), or give "
            "torch.utils.data.TensorDataset(x, y)"
        )
    if isinstance(stimuli, nn.Module) or not isinstance(stimuli, Iterable):
        raise TypeError(
            f"stimuli is a {type(stimuli).__name__}: give a DataLoader, a Dataset, batches, or a tensor"
        )
    return stimuli

"""Stimuli in batches, from whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Batch:
    """Stimuli to show at once.

    Parameters
    ----------
    inputs : torch.Tensor, PackedSequence or dict
        The model's first argument, or its arguments by name.
    labels : array, optional
        One for each stimulus.
    shown : torch.Tensor, optional
        Which steps are no padding: see :func:`ann2neo.model.hooks.steps.into_bins`.
    n_stimuli : int, optional
        Number of stimuli, where it is known.

    Examples
    --------
    >>> len(Batch(torch.zeros(3, 2))), Batch({"input": torch.ones(1)}).show_to(nn.ReLU(), "cpu")
    (3, tensor([1.]))
    """

    inputs: torch.Tensor | PackedSequence | dict[str, Any]
    labels: Any = None
    shown: torch.Tensor | None = None
    n_stimuli: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first tensor."""
        if isinstance(self.inputs, PackedSequence):
            return (int(self.inputs.batch_sizes[0]),)
        first = self.inputs if isinstance(self.inputs, torch.Tensor) else _first_tensor(self.inputs)
        return tuple(first.shape)

    def __len__(self) -> int:
        return self.shape[0] if self.n_stimuli is None else self.n_stimuli

    def show_to(self, model: nn.Module, device: Any) -> Any:
        """Call a model that is on a device; return its output."""
        if not isinstance(self.inputs, dict):
            return model(self.inputs.to(device))
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in self.inputs.items()}
        return model(**moved)


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
        first = _first_tensor(self.stimuli) if isinstance(self.stimuli, Mapping) else self.stimuli
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
        if len(dims) > 1 and values is not _first_tensor(self.stimuli):
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
    if isinstance(stimuli, Mapping):
        return len(_first_tensor(stimuli))
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
        batch = _by_name(raw) if isinstance(raw, Mapping) else _in_order(raw, model)
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


def _by_name(given: Mapping[str, Any]) -> Batch:
    inputs = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
    labels = inputs.pop("labels", None)
    _first_tensor(inputs)  # raises if there is none
    return Batch(inputs, labels)


def _in_order(given: Any, model: nn.Module) -> Batch:
    if isinstance(given, PackedSequence):
        return Batch(given)
    parts = [given] if isinstance(given, torch.Tensor | np.ndarray) else given
    if isinstance(parts, Sequence) and parts and isinstance(parts[0], PackedSequence):
        return Batch(parts[0], parts[1] if len(parts) > 1 else None)
    usable = isinstance(parts, Sequence) and len(parts) > 0
    if not usable or not isinstance(parts[0], torch.Tensor | np.ndarray) or not parts[0].ndim:
        raise TypeError(
            f"a batch of stimuli is a {type(given).__name__}: give tensors, (tensor, labels) tuples or "
            "arguments by name, or run your own loop with ann2neo.Probe"
        )
    return Batch(_tensor(parts[0], model), parts[1] if len(parts) > 1 else None)


def _first_tensor(inputs: Mapping[str, Any]) -> Any:
    found = next((v for v in inputs.values() if isinstance(v, torch.Tensor | np.ndarray) and v.ndim), None)
    if found is None:
        raise TypeError(
            f"none of the stimuli's arguments {list(inputs)} is a tensor with a dimension: give the model's "
            "arguments by name, each (n_stimuli, ...)"
        )
    return found


def _tensor(stimuli: torch.Tensor | np.ndarray, model: nn.Module) -> torch.Tensor:
    """Return a tensor; NumPy's floats get the precision of the model."""
    if isinstance(stimuli, torch.Tensor):
        return stimuli
    tensor = torch.from_numpy(np.ascontiguousarray(stimuli))
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return tensor.to(own) if tensor.is_floating_point() else tensor


def _is_whole(stimuli: Any) -> bool:
    """Tell whether all stimuli are in one array, or in arrays by name."""
    return isinstance(stimuli, Mapping | torch.Tensor | np.ndarray)


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


def _raw_batches(stimuli: Any, batch_size: int) -> Iterable[Any]:
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give at least one")
    if isinstance(stimuli, Arranged):
        if getattr(stimuli.stimuli, "ndim", 1) == 0:
            raise ValueError("stimuli is one number: give an array whose first dimension is the stimuli")
        return _Cut(stimuli, batch_size)
    if isinstance(stimuli, Dataset) and not isinstance(stimuli, torch.utils.data.IterableDataset):
        return DataLoader(stimuli, batch_size)
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

"""Stimuli in batches, from whatever holds them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def number_of_stimuli(stimuli: Any) -> int | None:
    """Return how many stimuli there will be, or None where that is not known.

    Examples
    --------
    >>> number_of_stimuli(np.zeros((5, 2))), number_of_stimuli(iter([]))
    (5, None)
    """
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


def batches(stimuli: Any, batch_size: int, model: nn.Module) -> Iterator[tuple[torch.Tensor, Any]]:
    """Yield batches of stimuli and their labels or None.

    Raises
    ------
    TypeError
        If the stimuli are no DataLoader, Dataset, array or iterable of batches.
    ValueError
        If there is no stimulus, or less than one in a batch.

    Examples
    --------
    >>> [len(batch) for batch, labels in batches(np.zeros((5, 2)), 2, nn.ReLU())]
    [2, 2, 1]
    """
    empty = True
    for batch in _raw_batches(stimuli, batch_size):
        parts = [batch] if isinstance(batch, torch.Tensor | np.ndarray) else batch
        usable = isinstance(parts, Sequence) and len(parts) > 0
        if not usable or not isinstance(parts[0], torch.Tensor | np.ndarray) or not parts[0].ndim:
            raise TypeError(
                f"a batch of stimuli is a {type(batch).__name__}: give tensors or (tensor, labels) tuples, "
                "or run your own loop with ann2neo.Probe"
            )
        tensor = _tensor(parts[0], model)
        if len(tensor):
            empty = False
            yield tensor, parts[1] if len(parts) > 1 else None
    if empty:
        raise ValueError(f"there are no stimuli in the {type(stimuli).__name__}")


def _tensor(stimuli: torch.Tensor | np.ndarray, model: nn.Module) -> torch.Tensor:
    """Return NumPy's floats in the precision of the model; all else as it is."""
    if isinstance(stimuli, torch.Tensor):
        return stimuli
    tensor = torch.from_numpy(np.ascontiguousarray(stimuli))
    own = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return tensor.to(own) if tensor.is_floating_point() else tensor


def _raw_batches(stimuli: Any, batch_size: int) -> Iterable[Any]:
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size}: give at least one")
    if getattr(stimuli, "ndim", 1) == 0:
        raise ValueError("stimuli is one number: give an array with the stimuli along its first dimension")
    if isinstance(stimuli, np.ndarray):
        return (stimuli[i : i + batch_size] for i in range(0, len(stimuli), batch_size))
    if isinstance(stimuli, torch.Tensor):
        return stimuli.split(batch_size) if len(stimuli) else ()
    if isinstance(stimuli, Dataset) and not isinstance(stimuli, torch.utils.data.IterableDataset):
        return DataLoader(stimuli, batch_size)
    if isinstance(stimuli, tuple) and len(stimuli) == 2 and getattr(stimuli[1], "ndim", 0) == 1:
        raise TypeError(
            "stimuli is a pair: for stimuli and their labels give record(model, x, labels=y), or "
            "torch.utils.data.TensorDataset(x, y)"
        )
    if isinstance(stimuli, nn.Module) or not isinstance(stimuli, Iterable):
        raise TypeError(
            f"stimuli is a {type(stimuli).__name__}: give a DataLoader, a Dataset, batches, or a tensor"
        )
    return stimuli

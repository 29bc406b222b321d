"""One batch of stimuli, from what data loaders give."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence

from ..hooks.stimuli.call import by_name, is_graph, nodes_of, parameter_names


@dataclass(frozen=True)
class Batch:
    """Stimuli to show at once.

    Parameters
    ----------
    inputs : torch.Tensor, PackedSequence, list, dict or graph
        The model's first argument, or its arguments by name.
    labels : array, optional
        One for each stimulus.
    shown : torch.Tensor, optional
        Which steps are no padding: see :func:`ann2neo.model.hooks.stimuli.steps.into_bins`.
    n_stimuli : int, optional
        Number of stimuli, where it is known.

    Examples
    --------
    >>> len(Batch(torch.zeros(3, 2))), Batch({"input": torch.ones(1)}).show_to(nn.ReLU(), "cpu")
    (3, tensor([1.]))
    """

    inputs: Any
    labels: Any = None
    shown: torch.Tensor | None = None
    n_stimuli: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the first tensor."""
        if isinstance(self.inputs, PackedSequence):
            return (int(self.inputs.batch_sizes[0]),)
        if isinstance(self.inputs, torch.Tensor):
            return tuple(self.inputs.shape)
        return tuple(first_tensor(self.inputs).shape) if isinstance(self.inputs, dict) else (len(self),)

    def __len__(self) -> int:
        return self.shape[0] if self.n_stimuli is None else self.n_stimuli

    def show_to(self, model: nn.Module, device: Any) -> Any:
        """Call a model that is on a device; return its output."""
        if isinstance(self.inputs, list):
            return model([each.to(device) for each in self.inputs])
        if not isinstance(self.inputs, dict):
            return model(self.inputs.to(device))
        moved = {k: v.to(device) if isinstance(v, torch.Tensor) else v for k, v in self.inputs.items()}
        return model(**moved)


def batch_of(given: Any, model: nn.Module | None = None) -> Batch:
    """Return a batch of what a loader gives.

    Parameters
    ----------
    given : tensor, array, tuple, list, mapping, or graph of torch_geometric
        ``(x, labels, ...)``, ``(x, lengths, labels, ...)`` for a model that takes lengths, a list of images
        for one that takes lists, or arguments by name.
    model : torch.nn.Module, optional
        It tells what it takes; NumPy's floats are given its precision.

    Raises
    ------
    TypeError
        If it is none of these, or the model takes more than it is given.
    ValueError
        If it cannot be known whether the second of a batch is lengths or labels.

    Examples
    --------
    >>> batch = batch_of((np.zeros((5, 2)), np.arange(5)[:, None]), nn.Linear(2, 3))
    >>> len(batch), batch.inputs.dtype
    (5, torch.float32)
    """
    if is_graph(given):
        return _of_graphs(given, model)
    if isinstance(given, Mapping):
        inputs = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
        labels = inputs.pop("labels", None)
        first_tensor(inputs)  # raises if there is none
        return Batch(inputs, labels)
    return _in_order(given, model)


def first_tensor(inputs: Mapping[str, Any]) -> Any:
    """Return the first tensor or array among arguments by name.

    Raises
    ------
    TypeError
        If there is none.
    """
    found = next((v for v in inputs.values() if isinstance(v, torch.Tensor | np.ndarray) and v.ndim), None)
    if found is None:
        raise TypeError(
            f"none of the stimuli's arguments {list(inputs)} is a tensor with a dimension: give the model's "
            "arguments by name, each (n_stimuli, ...)"
        )
    return found


# -- tensors in order ---------------------------------------------------------------------------------


def _in_order(given: Any, model: nn.Module | None) -> Batch:
    if isinstance(given, PackedSequence):
        return Batch(given)
    images = _images(given, model)
    if images is not None:
        return Batch(images, n_stimuli=len(images))
    parts = [given] if isinstance(given, torch.Tensor | np.ndarray) else given
    if isinstance(parts, Sequence) and parts and isinstance(parts[0], PackedSequence):
        return Batch(parts[0], _labels(parts, 1))
    usable = isinstance(parts, Sequence) and len(parts) > 0
    if not usable or not isinstance(parts[0], torch.Tensor | np.ndarray) or not parts[0].ndim:
        raise TypeError(
            f"a batch of stimuli is a {type(given).__name__}: give tensors, (tensor, labels) tuples or "
            "arguments by name, or run your own loop with ann2neo.Probe"
        )
    x = _tensor(parts[0], model)
    names = () if model is None else parameter_names(model)
    may_be_lengths = len(parts) > 1 and _may_be_lengths(parts[1], x)
    if may_be_lengths and len(names) > 1 and "len" in names[1].lower():
        return Batch({names[0]: x, names[1]: torch.as_tensor(parts[1])}, _labels(parts, 2))
    _check_takes_one(model, x)
    if len(parts) > 2 and x.ndim < 4 and may_be_lengths and int(max(parts[1])) == x.shape[1]:
        raise ValueError(
            f"the second of {len(parts)} in a batch may be lengths or labels: {parts[1]}. Give batches (x, "
            "labels), and lengths= for all stimuli; or give batches by name, as {'x': ..., 'labels': ...}"
        )
    return Batch(x, _labels(parts, 1))


def _labels(parts: Sequence[Any], place: int) -> Any:
    """Return the labels in a batch, None if what is in their place cannot be any."""
    found = parts[place] if len(parts) > place else None
    if isinstance(found, list | tuple):  # of names or numbers, but not of boxes, say
        return found if all(isinstance(each, int | float | str | np.generic) for each in found) else None
    return found if isinstance(found, torch.Tensor | np.ndarray) else None


def _may_be_lengths(values: Any, x: torch.Tensor) -> bool:
    """Tell whether values can be the steps of stimuli (n_stimuli, n_steps, ...)."""
    if x.ndim < 2 or not isinstance(values, torch.Tensor | np.ndarray | list | tuple):
        return False
    try:
        lengths = torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError):
        return False
    is_integer = not lengths.is_floating_point() and lengths.dtype != torch.bool
    if not is_integer or lengths.ndim != 1 or not len(lengths):
        return False
    return len(lengths) in x.shape[:2] and bool(lengths.min() > 0) and bool(lengths.max() <= max(x.shape))


def _check_takes_one(model: nn.Module | None, x: torch.Tensor) -> None:
    required = _required(model) if model is not None else ()
    if len(required) > 1:
        by_name = ", ".join(f"{name!r}: ..." for name in required)
        raise TypeError(
            f"{type(model).__name__} takes {', '.join(required)}, but from a batch in order it is given the "
            f"first alone, of shape {tuple(x.shape)}. Give arguments by name, {{{by_name}}}"
        )


def _required(model: nn.Module) -> tuple[str, ...]:
    try:
        parameters = inspect.signature(model.forward).parameters
    except (TypeError, ValueError):
        return ()
    names = parameter_names(model)
    return tuple(name for name in names if parameters[name].default is inspect.Parameter.empty)


def _tensor(stimuli: torch.Tensor | np.ndarray, model: nn.Module | None) -> torch.Tensor:
    """Return a tensor; NumPy's floats get the precision of the model."""
    if isinstance(stimuli, torch.Tensor):
        return stimuli
    if stimuli.dtype.kind not in "fiubc":
        raise TypeError(f"the stimuli are an array of {stimuli.dtype}: give an array of numbers")
    tensor = torch.from_numpy(np.ascontiguousarray(stimuli))
    parameters = () if model is None else model.parameters()
    own = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
    return tensor.to(own) if tensor.is_floating_point() else tensor


# -- images -------------------------------------------------------------------------------------------


def _images(given: Any, model: nn.Module | None) -> list[torch.Tensor] | None:
    """Return the images of a batch for a model that takes a list of them, as detectors do."""
    if isinstance(given, tuple) and given and isinstance(given[0], list | tuple):
        given = list(given[0])  # beside targets
    elif model is None or not _takes_lists(model):
        return None
    elif isinstance(given, torch.Tensor) and given.ndim == 3:
        given = [given]
    are_images = isinstance(given, list | tuple) and len(given) > 0
    if not are_images or not all(isinstance(each, torch.Tensor) and each.ndim == 3 for each in given):
        return None
    return list(given)


def _takes_lists(model: nn.Module) -> bool:
    """Tell whether the first argument of a model is annotated as a list."""
    try:
        first = next(iter(inspect.signature(model.forward).parameters.values()))
    except (TypeError, ValueError, StopIteration):
        return False
    return "list[" in str(first.annotation).lower() and "tensor" in str(first.annotation).lower()


# -- graphs -------------------------------------------------------------------------------------------


def _of_graphs(given: Any, model: nn.Module | None) -> Batch:
    named = by_name(None, (given,), {})
    nodes = nodes_of(named)
    n_graphs = None if nodes is None else len(nodes)
    if isinstance(given, Mapping):
        inputs = {k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in given.items()}
        return Batch(inputs, inputs.pop("labels", None), n_stimuli=n_graphs)
    labels = named.get("y")
    if not isinstance(labels, torch.Tensor) or len(labels) != n_graphs:
        labels = None
    if nodes is not None and "batch" not in named and model is not None and "batch" in _required(model):
        named["batch"] = torch.zeros(int(nodes.sum()), dtype=torch.long)  # a single graph
    taken = {name: named[name] for name in parameter_names(model) if name in named} if model else {}
    return Batch(taken if "edge_index" in taken else given, labels, n_stimuli=n_graphs)

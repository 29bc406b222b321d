"""Tensors that do not depend on the stimuli."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.multiprocessing.reductions import StorageWeakRef

from ..plain import tensors_in

FACTORIES = frozenset(
    (
        *("zeros", "ones", "full", "eye", "arange", "linspace", "logspace"),
        *("rand", "randn", "randint", "randperm", "normal", "tril_indices", "triu_indices"),
    )
)
"""Functions that make a tensor out of numbers; others may bring the stimuli back from outside of torch."""


class Constants:
    """The parameters and buffers of a model, and what torch functions make of them alone.

    An activation of these is the same for all stimuli, so it is no spike train, even if it has as many rows
    as there are stimuli. What cannot be followed, such as a kernel of another library, counts as dependent
    on the stimuli. In inference mode tensors do not know that they were written to: there a tensor made by
    ``torch.zeros`` stays constant for us, if something else than a function of torch writes to it.

    Parameters
    ----------
    model : torch.nn.Module
    given : iterable of torch.Tensor
        The stimuli, which may be among the parameters and buffers.

    Examples
    --------
    >>> model, x = nn.Linear(2, 3), torch.zeros(3, 2)
    >>> constants = Constants(model, [x])
    >>> constants.called(torch.abs, (model.weight,), {}, weight := model.weight.abs())
    >>> constants.called(torch.add, (weight, x), {}, total := weight + x)
    >>> constants.hold(weight), constants.hold(total)
    (True, False)
    """

    def __init__(self, model: nn.Module, given: Iterable[torch.Tensor]) -> None:
        # a weak reference keeps this address from becoming that of other memory; the version tells of writing
        self._kept: dict[int, tuple[StorageWeakRef, int | None]] = {}
        for tensor in (*model.parameters(), *model.buffers()):
            self._add(tensor)
        given = list(given)
        for tensor in given:
            self._discard(tensor)
        if not given:  # a model that reads the stimuli from its buffers
            self._kept.clear()

    def hold(self, tensor: torch.Tensor, n_written: int = 0) -> bool:
        """Tell whether a tensor did not depend on the stimuli before it was written to so often."""
        _, version = self._kept.get(_memory_of(tensor) or 0, (None, -1))
        now = _version_of(tensor)
        return version is None or (now is not None and version == now - n_written)

    def called(self, function: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Any) -> None:
        """Follow a call of a torch function."""
        name = getattr(function, "__name__", "")
        used = list(tensors_in((*args, *kwargs.values())))
        is_in_place = name == "__setitem__" or name.startswith("__i") or name.rstrip("_") + "_" == name
        # a list of tensors may be written to, too
        n_written = len(list(tensors_in(args[:1]))) if is_in_place else 0
        held = [self.hold(tensor, int(i < n_written)) for i, tensor in enumerate(used)]
        if all(held) if used else name in FACTORIES:
            for tensor in tensors_in((output, *used[:n_written])):
                self._add(tensor)
        else:
            for tensor in (*used[:n_written], *tensors_in((kwargs.get("out"),))):
                self._discard(tensor)

    def _add(self, tensor: torch.Tensor) -> None:
        memory = _memory_of(tensor)
        if memory is not None:
            self._kept[memory] = StorageWeakRef(tensor.untyped_storage()), _version_of(tensor)

    def _discard(self, tensor: torch.Tensor) -> None:
        self._kept.pop(_memory_of(tensor) or 0, None)


def _memory_of(tensor: torch.Tensor) -> int | None:
    """Return what views of one another have in common, if they have it."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (RuntimeError, NotImplementedError, AttributeError):  # nested, sparse, wrapped tensors
        return None


def _version_of(tensor: torch.Tensor) -> int | None:
    """Return how often memory was written to; tensors of inference mode do not know."""
    return None if tensor.is_inference() else tensor._version

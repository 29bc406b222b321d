"""Torch functions called in a forward pass: activations that are not modules have places and names, too."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional
from torch.nn.modules import activation
from torch.overrides import TorchFunctionMode

NOT_SPIKING = ("MultiheadAttention", "Softmin", "Softmax", "Softmax2d", "LogSoftmax")
"""Modules that torch lists among activations, but that normalise or attend over units."""

ACTIVATIONS = tuple(getattr(activation, name) for name in activation.__all__ if name not in NOT_SPIKING)
"""Module types recorded when no layers are named."""

ACTIVATION_FUNCTIONS = frozenset(module.__name__.lower() for module in ACTIVATIONS)
"""The same as functions, their names without underscores."""

CLAMPS = frozenset({"clamp", "clip", "clampmin"})
"""Functions that are an activation if they have a lower bound."""


@lru_cache(4096)
def name_of(function: Any) -> str:
    """Return the name of a torch function; its variant in place has the same.

    Examples
    --------
    >>> name_of(functional.relu_), name_of(torch.Tensor.add), name_of(torch.Tensor.__getitem__)
    ('relu', 'add', 'getitem')
    """
    return getattr(function, "__name__", "").strip("_")


def is_activation(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Tell whether a call is one of an activation function.

    Examples
    --------
    >>> is_activation(torch.Tensor.relu_, (), {}), is_activation(torch.Tensor.add, (), {})
    (True, False)
    >>> is_activation(torch.clamp, (torch.ones(2),), {"min": 0}), is_activation(torch.clamp, (), {"max": 1})
    (True, False)
    """
    kind = _kind(function)
    if kind == "clamp":
        return kwargs.get("min", args[1] if len(args) > 1 else None) is not None
    return kind == "activation"


@lru_cache(4096)
def _kind(function: Any) -> str:
    name = name_of(function).replace("_", "")
    return "clamp" if name in CLAMPS else "activation" if name in ACTIVATION_FUNCTIONS else ""


def may_be_called(pattern: str, modules: set[str]) -> bool:
    """Tell whether a name or glob can mean a function that is called in one of these modules.

    Examples
    --------
    >>> [may_be_called(p, {"", "block"}) for p in ("relu_1", "block.add", "*relu*", "blok.relu", "conv9")]
    [True, True, True, False, False]
    """
    stem, _, number = pattern.rpartition("_")
    path, _, function = (stem if number.isdigit() else pattern).rpartition(".")
    if not any(fnmatchcase(module, path) for module in modules):
        return "*" in path and may_be_called(function, {""})
    if any(wild in function for wild in "*?["):
        return any(fnmatchcase(name, function) for name in ACTIVATION_FUNCTIONS | CLAMPS)
    return any(hasattr(where, function) for where in (functional, torch, torch.Tensor))


class FunctionCalls(TorchFunctionMode):
    """Watches which torch functions are called from Python, while it is on.

    It sees functions that return a tensor, but not those that they call themselves. While it is on, torch's
    fused fast path of nn.TransformerEncoderLayer is off, in which no function would be called from Python.

    Parameters
    ----------
    on_call : callable
        Called after each with function, args, kwargs and output, before the next function runs.

    Examples
    --------
    >>> with FunctionCalls(lambda function, args, kwargs, output: print(name_of(function))):
    ...     x = functional.relu(torch.zeros(2)) + 1
    zeros
    relu
    add
    """

    def __init__(self, on_call: Callable[[Any, tuple[Any, ...], dict[str, Any], torch.Tensor], None]) -> None:
        super().__init__()
        self.on_call = on_call

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function, and ``on_call`` after it."""
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        if isinstance(output, torch.Tensor) and name_of(function) not in ("get", "set"):
            self.on_call(function, args, kwargs, output)
        return output

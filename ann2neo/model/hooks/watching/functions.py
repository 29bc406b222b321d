"""Torch functions called in a forward pass: activations that are not modules have places and names, too."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache, lru_cache
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
"""Functions that are an activation if they have a lower bound, of at most zero."""


PRODUCTS = frozenset(
    (
        *("linear", "bilinear", "matmul", "rmatmul", "mm", "bmm", "addmm", "baddbmm", "mv", "addmv", "dot"),
        *("einsum", "tensordot", "conv1d", "conv2d", "conv3d", "scaled_dot_product_attention"),
        *("conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "multi_head_attention_forward"),
    )
)
"""Functions that mix units, which no activation does."""


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

    A positive bound keeps a divisor from zero:

    >>> is_activation(torch.clamp, (torch.ones(2), 1e-9), {})
    False
    """
    kind = _kind(function)
    if kind == "clamp":
        bound = kwargs.get("min", args[1] if len(args) > 1 else None)
        return isinstance(bound, int | float) and bound <= 0
    return kind == "activation"


@lru_cache(4096)
def _kind(function: Any) -> str:
    name = name_of(function).replace("_", "")
    return "clamp" if name in CLAMPS else "activation" if name in ACTIVATION_FUNCTIONS else ""


def may_be_called(pattern: str, modules: set[str]) -> bool:
    """Tell whether a name or glob can mean a function that is called in one of these modules.

    A glob can mean activations, and a name any function of torch.

    Examples
    --------
    >>> [may_be_called(p, {"", "block"}) for p in ("relu_1", "block.add", "bl*lu", "blok.relu", "conv9")]
    [True, True, True, False, False]
    """
    stems = (pattern, re.sub(r"_\d+$", "", pattern))
    if any(wild in pattern for wild in "*?["):
        names = [f"{path}.{name}" if path else name for path in modules for name in _activations()]
        return any(fnmatchcase(name, stem) for stem in stems for name in names)
    for stem in stems:
        path, _, name = stem.rpartition(".")
        if path in modules and any(hasattr(where, name) for where in (functional, torch, torch.Tensor)):
            return True
    return False


@cache
def _activations() -> tuple[str, ...]:
    """Return the names of all functions that are activations."""
    found = {name.strip("_") for where in (functional, torch, torch.Tensor) for name in dir(where)}
    return tuple(name for name in sorted(found) if name.replace("_", "") in ACTIVATION_FUNCTIONS | CLAMPS)


def place_of_call() -> tuple[tuple[Any, int], ...]:
    """Return where a model calls the function that is looked at: code and instruction of each frame.

    The frames are those from the function up to the module whose forward pass calls it.
    """
    found = []
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") != "torch.nn.modules.module":
        if not frame.f_globals.get("__name__", "").startswith(("torch.", "ann2neo.")):
            found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


class FunctionCalls(TorchFunctionMode):
    """Watches which torch functions are called from Python, while it is on.

    It does not see those that they call themselves. While it is on, torch's fused kernels of
    nn.TransformerEncoderLayer are off, in which no function would be called from Python.

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

    def __init__(self, on_call: Callable[[Any, tuple[Any, ...], dict[str, Any], Any], None]) -> None:
        super().__init__()
        self.on_call = on_call

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function, and ``on_call`` after it."""
        kwargs = kwargs or {}
        output = function(*args, **kwargs)
        with torch._C.DisableTorchFunction():  # another probe that is on does not see what this one does
            self.on_call(function, args, kwargs, output)
        return output

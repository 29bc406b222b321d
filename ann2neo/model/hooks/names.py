"""The modules of a model and their names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

SPIKING = ("snntorch._neurons.neurons.SpikingNeuron",)
"""Spiking neurons of other libraries, by name, so that nothing has to be imported; subclasses count, too."""


def model_names(model: nn.Module, aliases: bool = False) -> dict[str, nn.Module]:
    """Return the modules of a model by name; the model itself has the name of its class."""
    return {path or type(model).__name__: module for path, module in module_paths(model, aliases).items()}


def module_paths(model: nn.Module, aliases: bool = False) -> dict[str, nn.Module]:
    """Return the modules of a model by path, its own being empty, without the wrappers of torch.compile.

    Examples
    --------
    >>> import torch
    >>> list(module_paths(nn.Sequential(torch.compile(nn.Sequential(nn.ReLU())))))
    ['', '0', '0.0']
    """
    modules = model.named_modules(remove_duplicate=not aliases)
    return {
        ".".join(part for part in path.split(".") if part != "_orig_mod"): module
        for path, module in modules
        if not hasattr(module, "_orig_mod")
    }


def gives_spikes(module: nn.Module) -> bool:
    """Tell whether a module is a spiking neuron of another library."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in SPIKING for kind in type(module).__mro__)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's own module out of torch.compile and the wrappers of parallel training.

    Examples
    --------
    >>> relu = nn.ReLU()
    >>> unwrapped(nn.DataParallel(relu)) is relu
    True
    """
    check_is_module(model)
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, "_orig_mod"):
        inner: Any = model.module if isinstance(model, wrappers) else model._orig_mod
        model = inner
    return model


def check_is_module(model: Any) -> None:
    """Check that something is a module that calls hooks.

    Raises
    ------
    TypeError
        If it is not.

    Examples
    --------
    >>> check_is_module(nn.ReLU)
    Traceback (most recent call last):
    ...
    TypeError: the model is the class ReLU: give an object of it, ReLU(...)
    """
    if isinstance(model, type):
        name = model.__name__
        raise TypeError(f"the model is the class {name}: give an object of it, {name}(...)")
    kinds = {kind.__name__ for kind in type(model).__mro__}  # by name: torch.export takes long to import
    if "ExportedProgram" in kinds or ("GraphModule" in kinds and "eval" in vars(model)):  # which it forbids
        raise TypeError(
            "the model is a program of torch.export, which calls no hooks: give the module that was exported"
        )
    if not isinstance(model, nn.Module):
        raise TypeError(f"the model is a {type(model).__name__}: give a torch.nn.Module")


def what_there_is(named: Mapping[str, nn.Module]) -> str:
    """Return a text that lists the modules of a model, for messages."""
    names = [f"{name} ({type(module).__name__})" for name, module in named.items()]
    more = f", … {len(names) - 40} more" if len(names) > 40 else ""
    return f"the model has {', '.join(names[:40])}{more}"

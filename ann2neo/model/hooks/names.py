"""The modules of a model and their names."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import nn

SPIKING = (
    *("snntorch.SpikingNeuron", "snntorch.LeakyParallel"),
    *("norse.SNNCell", "norse.SNNRecurrentCell", "norse.SNN", "norse.SNNRecurrent"),
    *(
        "norse.CobaLIFCell",
        "norse.LIFMCRecurrentCell",
        "norse.LIFMCRefracRecurrentCell",
        "norse.LIFCorrelation",
    ),
    *("spikingjelly.BaseNode", "spikingjelly.SimpleBaseNode", "spikingjelly.GatedLIFNode"),
    *("spikingjelly.PSN", "spikingjelly.MaskedPSN", "spikingjelly.SlidingPSN", "spikingjelly.FlexSN"),
    *("spikingjelly.DSRIFNode", "spikingjelly.DSRLIFNode", "spikingjelly.FewSpikeNode"),
    *("spikingjelly.STBIFNode", "spikingjelly.ActivationAwareIFNode"),
    *("spikingjelly.ILCBaseNode", "spikingjelly.NoisyBaseNode"),
)
"""Spiking neurons of other libraries, by package and class, so that nothing is imported; subclasses count."""

NOT_SPIKING = ("norse.LI", "norse.LICell", "norse.LIBoxCell")
"""Neurons among these whose output is a voltage."""


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


def check_model(model: Any) -> None:
    """Check that a model is a live module, whose parts are called from Python.

    Raises
    ------
    TypeError
        If it is no module, or one program without parts, as torch.export makes.

    Examples
    --------
    >>> check_model(nn.ReLU)
    Traceback (most recent call last):
    ...
    TypeError: the model is the class ReLU: make a model of it, ReLU(...)
    """
    if isinstance(model, nn.Module) and not is_of(model, "torch._StatefulGraphModule"):
        return
    kind = type(model).__name__
    if isinstance(model, torch.export.ExportedProgram | nn.Module):
        raise TypeError(
            f"the model is a {kind}, which torch.export made: it is one program, whose layers are not "
            "called. Give the module it was made from, or torch.export.unflatten(program) and name its layers"
        )
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"the model is the class {model.__name__}: make a model of it, {model.__name__}(...)")
    if isinstance(model, str | os.PathLike):
        raise TypeError(
            f"the model is {str(model)!r}, a {kind}: load it first, with torch.load or load_state_dict for "
            "example"
        )
    if isinstance(model, dict):
        raise TypeError(
            "the model is a dict, a state_dict perhaps: make the model first, then model.load_state_dict(...)"
        )
    swapped = isinstance(model, torch.Tensor) or hasattr(model, "__array__") or hasattr(model, "__iter__")
    more = ": the model comes first and the stimuli second" if swapped else ": give a torch.nn.Module"
    raise TypeError(f"the model is a {kind}{more}")


def gives_spikes(module: nn.Module) -> bool:
    """Tell whether a module is a spiking neuron of another library."""
    return is_of(module, *SPIKING) and not is_of(module, *NOT_SPIKING)


def is_of(module: nn.Module, *kinds: str) -> bool:
    """Tell whether a module is of one of these classes, each named by its package and its own name.

    Examples
    --------
    >>> is_of(nn.GELU(), "torch.Module"), is_of(nn.GELU(), "torch.ReLU", "norse.GELU")
    (True, False)
    """
    kind: Any = type(module)
    return not _kinds(kind).isdisjoint(kinds)


@lru_cache(4096)
def _kinds(kind: type) -> frozenset[str]:
    return frozenset(f"{each.__module__.partition('.')[0]}.{each.__qualname__}" for each in kind.__mro__)


def is_leaf(module: nn.Module) -> bool:
    """Tell whether a module holds no others, apart from those that make its weights or a neuron's gradient.

    Examples
    --------
    >>> is_leaf(nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))), is_leaf(nn.Sequential(nn.ReLU()))
    (True, False)
    """
    return gives_spikes(module) or all(name == "parametrizations" for name, _ in module.named_children())


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the user's own module out of torch.compile and the wrappers of parallel training.

    Raises
    ------
    TypeError
        If it is no live module: see :func:`check_model`.

    Examples
    --------
    >>> relu = nn.ReLU()
    >>> unwrapped(nn.DataParallel(relu)) is relu
    True
    """
    check_model(model)
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, "_orig_mod"):
        inner: Any = model.module if isinstance(model, wrappers) else model._orig_mod
        model = inner
    return model


def what_there_is(named: Mapping[str, nn.Module]) -> str:
    """Return a text that lists the modules of a model, for messages."""
    names = [f"{name} ({type(module).__name__})" for name, module in named.items()]
    more = f", … {len(names) - 40} more" if len(names) > 40 else ""
    return f"the model has {', '.join(names[:40])}{more}"

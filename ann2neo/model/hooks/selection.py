"""Which layers and units of a model to look at, and what they are called."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
from torch import nn

from ...recording.by_layer import _is_named, unmet
from ...recording.units import Layer
from .functions import ACTIVATIONS, may_be_called

TimeDim = int | Literal["calls"] | None
"""What is time within a stimulus in a layer: a dimension, the calls of the module, or nothing."""

SPIKING = ("snntorch._neurons.neurons.SpikingNeuron",)
"""Modules of other libraries that give spikes, with their subclasses; they are not imported for it."""


@dataclass
class Selection:
    """Which layers and units of a model to look at; the arguments of :func:`ann2neo.record`.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> list(Selection().modules(model)), list(Selection("*").modules(model))
    (['1'], ['0', '1'])
    """

    layers: Any = None
    units: Any = None
    time_dim: TimeDim | Mapping[str, TimeDim] = None
    seed: int = 0
    _patterns: list[str] = field(init=False)

    def __post_init__(self) -> None:
        given = self.layers
        if not isinstance(given, Iterable) or isinstance(given, str | type):
            given = [] if given is None else [given]
        given = list(given)
        self._types = tuple(entry for entry in given if isinstance(entry, type))
        self._patterns = [entry for entry in given if isinstance(entry, str)]
        if len(self._types) + len(self._patterns) != len(given) or (self.layers is not None and not given):
            raise ValueError(
                f"layers={self.layers!r}: give names, globs or module types, or None for all activations"
            )
        if self.layers is None:
            self._types = ACTIVATIONS
        by_layer = self.time_dim if isinstance(self.time_dim, Mapping) else {"*": self.time_dim}
        for dim in by_layer.values():
            if dim not in (None, "calls") and (isinstance(dim, bool) or not isinstance(dim, int)):
                raise ValueError(
                    f"time_dim={self.time_dim!r}: give the number of a dimension, 'calls' where each call of "
                    "a module in a forward pass is a step, None, or a dict of these by layer"
                )

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules to hook, by name.

        Raises
        ------
        ValueError
            If a name, glob or type matches no module, and no function that may be called in one; it lists
            what there is.
        """
        named = model_names(model, aliases=True)
        leaves = {name: m for name, m in named.items() if next(m.children(), None) is None}
        chosen: dict[str, nn.Module] = {}
        for pattern in self._patterns:
            # 'relu_1' may be the second firing of 'relu' as well as a module of that name
            stems = (pattern, re.sub(r"_\d+$", "", pattern))
            found = {n: m for n, m in named.items() if n in stems}
            # a glob means layers, not their containers, unless it matches containers only
            found = found or _matched(leaves, stems) or _matched(named, stems)
            if not found and not may_be_called(pattern, set(module_paths(model))):
                raise ValueError(f"no layer matches {pattern!r}; {what_there_is(named)}")
            uncalled = [n for n, m in found.items() if isinstance(m, nn.ModuleList | nn.ModuleDict)]
            if uncalled:
                kind = type(found[uncalled[0]]).__name__
                raise ValueError(
                    f"layer {uncalled[0]!r} is a {kind}, which only holds others and is never called: name "
                    f"what it holds, say '{uncalled[0]}.*'"
                )
            chosen |= found
        if self._types:
            found = {n: m for n, m in named.items() if self._is_of_types(m)}
            if not found and self.layers is not None:
                raise ValueError(f"no layer is a {self.layers}; name layers=: {what_there_is(named)}")
            chosen |= found
        wanted = {id(module) for module in chosen.values()}
        return {name: module for name, module in model_names(model).items() if id(module) in wanted}

    def _is_of_types(self, module: nn.Module) -> bool:
        return isinstance(module, self._types) or (self.layers is None and gives_spikes(module))

    def wants(self, layer: str, modules: tuple[str, ...], module: nn.Module) -> bool:
        """Tell whether one firing of a hooked module is selected."""
        return self._is_of_types(module) or any(
            _is_named(pattern, layer, *modules) for pattern in self._patterns
        )

    def watches_functions(self, model: nn.Module) -> bool:
        """Tell whether functions may be selected: not if modules are named, or types of them."""
        paths = set(module_paths(model))
        return self.layers is None or any(
            pattern not in paths and may_be_called(pattern, paths) for pattern in self._patterns
        )

    def names_functions(self, model: nn.Module) -> bool:
        """Tell whether functions may be selected that are no activations: only by their names."""
        paths = set(module_paths(model))
        return any(
            pattern not in paths and not set(pattern) & set("*?[") and may_be_called(pattern, paths)
            for pattern in self._patterns
        )

    def names(self, layer: str) -> bool:
        """Tell whether a layer is named, by no glob."""
        return layer in self._patterns

    def wants_activation(self, layer: str) -> bool:
        """Tell whether a call of an activation function is selected."""
        return self.layers is None or any(_is_named(pattern, layer) for pattern in self._patterns)

    def time_dim_of(self, layer: str, modules: tuple[str, ...]) -> TimeDim:
        """Return what is time in a layer."""
        if not isinstance(self.time_dim, Mapping):
            return self.time_dim
        found = (dim for key, dim in self.time_dim.items() if _is_named(key, layer, *modules))
        return next(found, None)

    def unmet(self, layers: Iterable[Layer]) -> list[str]:
        """Return the names and globs that none of these layers meets."""
        return unmet(self._patterns, layers)

    def units_of(self, layer: str, shape: tuple[int, ...]) -> np.ndarray:
        """Return the indices of the units to record in a layer of that shape, in ascending order.

        Raises
        ------
        ValueError
            If an index is out of range, or a layer is missing in a dict of indices.
        """
        n_units = int(np.prod(shape))
        wanted = self.units
        if isinstance(wanted, Mapping):
            wanted = next((v for k, v in wanted.items() if fnmatchcase(layer, k) or layer == k), None)
            if wanted is None:
                raise ValueError(
                    f"units has nothing for layer {layer!r}, only for {list(self.units)}: "
                    "add it, or '*' for all other layers"
                )
        if wanted is None or (isinstance(wanted, str) and wanted == "all"):
            return np.arange(n_units)
        if isinstance(wanted, int | np.integer) and not isinstance(wanted, bool):
            if wanted < 1:
                raise ValueError(f"units={wanted}: give at least one unit a layer")
            # the layer's name in the seed: a sample does not depend on which other layers are recorded
            rng = np.random.default_rng([self.seed, zlib.crc32(layer.encode())])
            return np.sort(rng.choice(n_units, size=min(int(wanted), n_units), replace=False))
        indices = np.unique(np.asarray(wanted))
        if indices.dtype.kind not in "iu" or not indices.size:
            raise ValueError(f"units={wanted!r}: give 'all', a number a layer, or indices of units")
        if indices[0] < 0 or indices[-1] >= n_units:
            wrong = indices[0] if indices[0] < 0 else indices[-1]
            raise ValueError(f"unit {wrong} is out of range: layer {layer!r} has units 0 to {n_units - 1}")
        return indices.astype(np.int64)


def model_names(model: nn.Module, aliases: bool = False) -> dict[str, nn.Module]:
    """Return the modules of a model by name, itself by the name of its class."""
    return {path or type(model).__name__: module for path, module in module_paths(model, aliases).items()}


def module_paths(model: nn.Module, aliases: bool = False) -> dict[str, nn.Module]:
    """Return the modules of a model by path, its own being empty; what torch.compile wraps as if it did not.

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
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while isinstance(model, wrappers) or hasattr(model, "_orig_mod"):
        inner: Any = model.module if isinstance(model, wrappers) else model._orig_mod
        model = inner
    return model


def _matched(modules: Mapping[str, nn.Module], patterns: Iterable[str]) -> dict[str, nn.Module]:
    return {n: m for n, m in modules.items() if any(fnmatchcase(n, p) for p in patterns)}


def what_there_is(named: Mapping[str, nn.Module]) -> str:
    """Tell the modules of a model, for messages."""
    names = [f"{name} ({type(module).__name__})" for name, module in named.items()]
    more = f", … {len(names) - 40} more" if len(names) > 40 else ""
    return f"the model has {', '.join(names[:40])}{more}"

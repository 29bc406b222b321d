"""Forward hooks on a live model: which modules, under which names, and what each gives in one pass."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.modules import activation

NOT_SPIKING = (
    nn.MultiheadAttention,
    nn.Softmin,
    nn.Softmax,
    nn.Softmax2d,
    nn.LogSoftmax,
)
"""Modules that torch files under activations but that normalise or attend over units."""

ACTIVATIONS = tuple(
    module
    for module in (getattr(activation, name) for name in activation.__all__)
    if module not in NOT_SPIKING
)
"""Module types recorded when no layers are named."""


@dataclass(eq=False)
class Layer:
    """One place in the model that fires once in every forward pass.

    Parameters
    ----------
    name : str
        Name of the module; ``relu_1`` if it is the second firing of ``relu`` in a pass.
    modules : tuple of str
        Names under which the model knows the module.
    shape : tuple of int
        Shape of its activation in one bin.
    units : numpy.ndarray
        int64, indices of the recorded units in the flattened activation.
    """

    name: str
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    units: np.ndarray

    @property
    def all_units(self) -> bool:
        """Whether every unit of the layer is recorded."""
        return len(self.units) == int(np.prod(self.shape))

    def recorded(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the recorded units' part, (n_bins, n_recorded_units), of an activation (n_bins, *shape)."""
        flat = activation.reshape(len(activation), int(np.prod(self.shape)))
        return flat if self.all_units else flat[:, torch.from_numpy(self.units).to(flat.device)]


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
    time_dim: int | None = None
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

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules to hook, by name.

        Raises
        ------
        ValueError
            If a name, glob or type matches no module; it lists what there is.
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
            if not found:
                raise ValueError(f"no layer matches {pattern!r}; {_what_there_is(named)}")
            chosen |= found
        if self._types:
            found = {n: m for n, m in named.items() if isinstance(m, self._types)}
            if not found:
                kind = "an activation module" if self.layers is None else f"a {self.layers}"
                raise ValueError(f"no layer is {kind}; name layers=: {_what_there_is(named)}")
            chosen |= found
        wanted = {id(module) for module in chosen.values()}
        return {name: module for name, module in model_names(model).items() if id(module) in wanted}

    def wants(self, layer: str, modules: tuple[str, ...], module: nn.Module) -> bool:
        """Tell whether one firing of a hooked module is selected."""
        return isinstance(module, self._types) or any(
            _is_named(pattern, layer, *modules) for pattern in self._patterns
        )

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
    modules = model.named_modules(remove_duplicate=not aliases)
    return {name or type(model).__name__: module for name, module in modules}


def unmet(patterns: Iterable[str], layers: Iterable[Layer]) -> list[str]:
    """Return the names and globs that are those of none of the layers."""
    known = [(layer.name, *layer.modules) for layer in layers]
    return [p for p in patterns if not any(_is_named(p, *names) for names in known)]


def _is_named(pattern: str, *names: str) -> bool:
    return any(name == pattern or fnmatchcase(name, pattern) for name in names)


def check_keys(argument: str, by_layer: Mapping[str, Any], layers: Iterable[Layer]) -> None:
    """Raise if a key of a dict by layer is the name or glob of none of the layers."""
    layers = list(layers)
    unknown = [key for key in by_layer if key != "*" and unmet([key], layers)]
    if unknown:
        names = [layer.name for layer in layers]
        raise ValueError(f"{argument} has {unknown[0]!r}, which is none of the layers recorded: {names}")


def _matched(modules: Mapping[str, nn.Module], patterns: Iterable[str]) -> dict[str, nn.Module]:
    return {n: m for n, m in modules.items() if any(fnmatchcase(n, p) for p in patterns)}


def _what_there_is(named: Mapping[str, nn.Module]) -> str:
    names = [f"{name} ({type(module).__name__})" for name, module in named.items()]
    more = f", … {len(names) - 40} more" if len(names) > 40 else ""
    return f"the model has {', '.join(names[:40])}{more}"


def tensor_of(output: Any, layer: str) -> torch.Tensor:
    """Return the activation in what a module gave: a tensor, or the first tensor of a tuple or dict.

    So an LSTM is its output sequence, an attention layer its output, a Hugging Face model its last
    hidden state.

    Raises
    ------
    TypeError
        If there is no tensor, or it is not of real numbers.

    Examples
    --------
    >>> output, state = torch.ones(2), torch.zeros(1)
    >>> tensor_of((output, state), "lstm")
    tensor([1., 1.])
    """
    found = output
    if isinstance(output, Mapping):
        found = next((v for v in output.values() if isinstance(v, torch.Tensor)), output)
    elif isinstance(output, Sequence):
        found = next((v for v in output if isinstance(v, torch.Tensor)), output)
    if not isinstance(found, torch.Tensor):
        raise TypeError(
            f"layer {layer!r} gives a {type(output).__name__} without a tensor in its first level: "
            "choose a layer inside it, or wrap it in a module that returns the tensor to record"
        )
    if found.is_complex():
        raise TypeError(f"layer {layer!r} gives complex numbers, which have no threshold")
    return found.detach()


class Hooks:
    """Forward hooks on the selected modules, as a context manager that leaves no trace.

    Parameters
    ----------
    model : torch.nn.Module
        The model; a forward pass is one call of it.
    selection : Selection
        Which layers and units.
    on_layer : callable
        Called with each firing: (Layer, activation of shape (n_bins, *layer.shape), n_steps in a
        stimulus). What it returns is kept until the pass is complete. It runs before the next module,
        which may overwrite the tensor.
    on_pass : callable
        Called after each complete forward pass: ({layer name: what ``on_layer`` gave}, n_stimuli, n_steps).

    Examples
    --------
    >>> shapes = []
    >>> def on_layer(layer, activation, n_steps):
    ...     return activation.shape
    >>> def on_pass(of_layers, n_stimuli, n_steps):
    ...     shapes.append(of_layers)
    >>> relu = nn.ReLU()
    >>> with Hooks(relu, Selection(), on_layer, on_pass):
    ...     _ = relu(torch.zeros(3, 2, 4))
    >>> shapes
    [{'ReLU': torch.Size([3, 2, 4])}]
    """

    def __init__(
        self,
        model: nn.Module,
        selection: Selection,
        on_layer: Callable[[Layer, torch.Tensor, int], Any],
        on_pass: Callable[[dict[str, Any], int, int], None],
    ) -> None:
        self.model, self.selection = model, selection
        self.on_layer, self.on_pass = on_layer, on_pass
        self.layers: dict[str, Layer] = {}
        self._modules = selection.modules(model)
        self._names_of: dict[int, tuple[str, ...]] = {}
        for name, module in model_names(model, aliases=True).items():
            self._names_of[id(module)] = (*self._names_of.get(id(module), ()), name)
        self._names: dict[tuple[str, int], str] = {}
        self._handles: list[Any] = []
        self._complete_passes = 0
        self._begin_pass()

    def __enter__(self) -> Hooks:
        if self._handles:
            raise RuntimeError("this probe is already on: make another one for a loop within its loop")
        self._handles.append(self.model.register_forward_pre_hook(lambda *_: self._begin_pass()))
        for name, module in self._modules.items():
            self._handles.append(module.register_forward_hook(self._firing(name)))
        self._handles.append(self.model.register_forward_hook(lambda *_: self._end_pass()))
        return self

    def __exit__(self, *exception: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin_pass(self) -> None:
        if not self._complete_passes:  # nothing is left of a first pass that failed
            self.layers.clear()
            self._names.clear()
        self._results: dict[str, Any] = {}
        self._n_firings: dict[str, int] = {}
        self._extent: tuple[int, int] | None = None

    def _firing(self, module_name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            n_before = self._n_firings.get(module_name, 0)
            self._n_firings[module_name] = n_before + 1
            name = self._name_of(module_name, n_before)
            if self.selection.wants(name, self._names_of[id(module)], module):
                self._receive(name, module, tensor_of(output, name))

        return hook

    def _name_of(self, module_name: str, n_before: int) -> str:
        """Name the n-th firing of a module in a pass: relu, relu_1, … past names of other modules."""
        key = (module_name, n_before)
        if key not in self._names:
            taken = {name for names in self._names_of.values() for name in names} | set(self._names.values())
            name, number = module_name, n_before
            while number and (name := f"{module_name}_{number}") in taken:
                number += 1
            self._names[key] = name
        return self._names[key]

    def _receive(self, name: str, module: nn.Module, tensor: torch.Tensor) -> None:
        if isinstance(module, nn.RNNBase) and not module.batch_first and self.selection.time_dim is None:
            raise ValueError(
                f"layer {name!r} is a {type(module).__name__} with batch_first=False, its output is (steps, "
                "stimuli, units): give time_dim=0, which makes each step of a stimulus a bin"
            )
        activation, n_stimuli, n_steps = self._in_bins(name, tensor)
        if self._extent is None:
            self._extent = (n_stimuli, n_steps)
        elif self._extent != (n_stimuli, n_steps):
            raise ValueError(
                f"layer {name!r} gives {n_stimuli} stimuli of {n_steps} steps in a pass where another "
                f"layer gave {self._extent[0]} of {self._extent[1]} (its output has shape "
                f"{tuple(tensor.shape)}; the first dimension must be the batch"
                + (")" if self.selection.time_dim is None else ", apart from time_dim)")
            )
        shape = tuple(activation.shape[1:])
        layer = self.layers.get(name)
        if layer is None:
            if self._complete_passes:
                raise ValueError(
                    f"layer {name!r} fires in this forward pass but not in the first: "
                    "record models whose layers depend on the input with layers= that always fire"
                )
            units = self.selection.units_of(name, shape)
            layer = self.layers[name] = Layer(name, self._names_of[id(module)], shape, units)
        elif layer.shape != shape:
            raise ValueError(
                f"layer {name!r} gives an activation of shape {shape}, it was {layer.shape} before: "
                "show stimuli of one size (resize or crop them)"
            )
        self._results[name] = self.on_layer(layer, activation, n_steps)

    def _in_bins(self, name: str, tensor: torch.Tensor) -> tuple[torch.Tensor, int, int]:
        """Return the activation with bins first: one a stimulus, or one a stimulus and time step."""
        time_dim = self.selection.time_dim
        if tensor.ndim == 0:
            raise ValueError(f"layer {name!r} gives one number, not a batch: choose another layer")
        if time_dim is None:
            return tensor, len(tensor), 1
        if not -tensor.ndim <= time_dim < tensor.ndim or tensor.ndim < 2:
            raise ValueError(
                f"time_dim={time_dim}, but layer {name!r} gives an output of shape {tuple(tensor.shape)}: "
                f"give a dimension of it, or choose other layers"
            )
        steps = tensor.movedim(time_dim, 1)
        return steps.flatten(0, 1), steps.shape[0], steps.shape[1]

    def _end_pass(self) -> None:
        self._check_what_fired()
        assert self._extent is not None
        if self._extent[0]:
            self._complete_passes += 1
            self.on_pass(self._results, *self._extent)
        self._begin_pass()

    def _check_what_fired(self) -> None:
        way_out = (
            "Hooks see modules that are called: not functional activations, not what a fast path skips "
            "(nn.TransformerEncoderLayer in evaluation mode does, unless "
            "torch.backends.mha.set_fastpath_enabled(False)), not branches used in training only"
        )
        missing = self.selection.unmet(self.layers.values())
        if missing or not self._results:
            raise ValueError(f"no layer {missing or list(self._modules)} fired in a forward pass. {way_out}")
        if isinstance(self.selection.units, Mapping):
            check_keys("units", self.selection.units, self.layers.values())
        gone = [name for name in self.layers if name not in self._results]
        if gone:
            raise ValueError(
                f"layer {gone[0]!r} fired in the first forward pass but not in this one: "
                "record only layers that every stimulus goes through"
            )
        silent = [name for name in self._modules if name not in self._n_firings]
        if silent and not self._complete_passes:
            warnings.warn(f"not recorded, because they did not fire: {silent}. {way_out}", stacklevel=2)

"""What to look at in a model: the arguments that say so, made and checked once."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import numpy as np
from torch import nn

from ...recording.by_layer import key_for, matches, unmet, value_for
from ...recording.threshold import needs_calibration, values_for
from ...recording.units import Layer
from .names import gives_spikes, is_leaf, model_names, module_paths, what_there_is
from .watching.functions import ACTIVATIONS, may_be_called

TimeDim = int | Literal["calls"] | None
"""What is time within a stimulus in a layer: a dimension, the calls of the module, or nothing."""


@dataclass(frozen=True)
class Selection:
    """What to look at in a model: which layers and units, when a unit spikes, what is time.

    Parameters
    ----------
    layers, units, threshold, time_dim, seed, allow_nan, channel_dim
        The arguments of :class:`ann2neo.Probe`; a threshold may also be a rule to calibrate.

    Raises
    ------
    ValueError
        If ``layers``, ``time_dim`` or ``channel_dim`` are not what they may be.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    >>> list(Selection().modules(model)), list(Selection("*").modules(model))
    (['1'], ['0', '1'])
    """

    layers: Any = None
    units: Any = None
    threshold: Any = 0.0
    time_dim: TimeDim | Mapping[str, TimeDim] = None
    seed: int = 0
    allow_nan: bool = False
    channel_dim: int | Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        if self.layers is not None:
            is_many = isinstance(self.layers, Iterable) and not isinstance(self.layers, str | type)
            entries = tuple(self.layers) if is_many else (self.layers,)
            if not entries or not all(isinstance(entry, str | type) for entry in entries):
                raise ValueError(
                    f"layers={self.layers!r}: give names, globs or module types, or None for all activations"
                )
            object.__setattr__(self, "layers", entries)  # an iterator would be used up
        by_layer = self.time_dim if isinstance(self.time_dim, Mapping) else {"*": self.time_dim}
        for dim in by_layer.values():
            if dim not in (None, "calls") and (isinstance(dim, bool) or not isinstance(dim, int)):
                raise ValueError(
                    f"time_dim={self.time_dim!r}: give the number of a dimension, 'calls' where each call of "
                    "a module in a forward pass is a step, None, or a dict of these by layer"
                )
        told = self.channel_dim.values() if isinstance(self.channel_dim, Mapping) else [self.channel_dim]
        if any(dim is not None and (isinstance(dim, bool) or not isinstance(dim, int)) for dim in told):
            raise ValueError(
                f"channel_dim={self.channel_dim!r}: give the number of a dimension of the layers' outputs, "
                "or a dict of these by layer; without it, it is found out where that is possible"
            )

    # -- layers ----------------------------------------------------------------------------------------

    @cached_property
    def _patterns(self) -> tuple[str, ...]:
        return tuple(entry for entry in self.layers or () if isinstance(entry, str))

    @cached_property
    def _types(self) -> tuple[type, ...]:
        if self.layers is None:
            return ACTIVATIONS
        return tuple(entry for entry in self.layers if isinstance(entry, type))

    def modules(self, model: nn.Module) -> dict[str, nn.Module]:
        """Return the modules to hook, by name.

        Raises
        ------
        ValueError
            If a name, glob or type matches no module, and no function that may be called in one; it lists
            what there is.
        """
        named, paths = model_names(model, aliases=True), set(module_paths(model))
        leaves = {name: m for name, m in named.items() if is_leaf(m)}
        chosen: dict[str, nn.Module] = {}
        for pattern in self._patterns:
            # 'relu_1' may be the second firing of 'relu' as well as a module of that name
            stems = (pattern, re.sub(r"_\d+$", "", pattern))
            found = {n: m for n, m in named.items() if n in stems}
            # a glob means layers, not their containers, unless it matches containers only
            found = found or _matched(leaves, stems) or _matched(named, stems)
            if not found and not may_be_called(pattern, paths):
                raise ValueError(f"no layer matches {pattern!r}; {what_there_is(named)}")
            uncalled = [n for n, m in found.items() if isinstance(m, nn.ModuleList | nn.ModuleDict)]
            is_glob = bool(set(pattern) & set("*?["))
            if uncalled and (
                not is_glob or (len(uncalled) == len(found) and not may_be_called(pattern, paths))
            ):
                kind = type(found[uncalled[0]]).__name__
                raise ValueError(
                    f"layer {uncalled[0]!r} is a {kind}: it holds other modules and is never called itself. "
                    f"Name what it holds, say '{uncalled[0]}.*'"
                )
            chosen |= {n: m for n, m in found.items() if not is_glob or n not in uncalled}
        if self._types:
            found = {n: m for n, m in named.items() if self._is_of_types(m)}
            if not found and self.layers is not None:
                kinds = " or ".join(kind.__name__ for kind in self._types)
                raise ValueError(f"no layer is a {kinds}; {what_there_is(named)}")
            chosen |= found
        wanted = {id(module) for module in chosen.values()}
        return {name: module for name, module in model_names(model).items() if id(module) in wanted}

    def _is_of_types(self, module: nn.Module) -> bool:
        return isinstance(module, self._types) or (self.layers is None and gives_spikes(module))

    def wants(self, layer: str, modules: tuple[str, ...], module: nn.Module) -> bool:
        """Tell whether one firing of a hooked module is selected."""
        return self._is_of_types(module) or any(
            matches(pattern, layer, *modules) for pattern in self._patterns
        )

    def watches_functions(self, model: nn.Module) -> bool:
        """Tell whether functions may be selected: not if modules are named, or types of them."""
        paths = set(module_paths(model))
        return self.layers is None or any(
            pattern not in paths and may_be_called(pattern, paths) for pattern in self._patterns
        )

    def names_functions(self, model: nn.Module) -> bool:
        """Tell whether functions may be selected that are not activations: only by their exact names."""
        paths = set(module_paths(model))
        return any(
            pattern not in paths and not set(pattern) & set("*?[") and may_be_called(pattern, paths)
            for pattern in self._patterns
        )

    def names(self, *names: str) -> bool:
        """Tell whether a layer of these names is selected by an exact one."""
        return any(name in self._patterns for name in names)

    def wants_activation(self, layer: str) -> bool:
        """Tell whether a call of an activation function is selected."""
        return self.layers is None or any(matches(pattern, layer) for pattern in self._patterns)

    def unmet(self, layers: Iterable[Layer]) -> list[str]:
        """Return the names and globs that match none of these layers."""
        return unmet(self._patterns, layers)

    # -- by layer --------------------------------------------------------------------------------------

    def time_dim_of(self, *names: str) -> TimeDim:
        """Return what is time in a layer of these names, its own first; in a dict that lacks it, nothing."""
        if not isinstance(self.time_dim, Mapping):
            return self.time_dim
        key = key_for("time_dim", self.time_dim, *names)
        return None if key is None else self.time_dim[key]

    @property
    def has_steps_first(self) -> bool:
        """Whether the first dimension is time in some layer."""
        return 0 in self._time_dims

    @property
    def has_steps(self) -> bool:
        """Whether a dimension is time in some layer."""
        return any(isinstance(dim, int) for dim in self._time_dims)

    @property
    def _time_dims(self) -> tuple[TimeDim, ...]:
        return tuple(self.time_dim.values()) if isinstance(self.time_dim, Mapping) else (self.time_dim,)

    def channel_dim_of(self, names: tuple[str, ...], shape: tuple[int, ...]) -> int | None:
        """Return the dimension of a bin of a layer that was told to be the channel; None: not told.

        Parameters
        ----------
        names : tuple of str
            Of the layer, its own first.
        shape : tuple of int
            Of its activation in one bin.

        Raises
        ------
        ValueError
            If the layer has no such dimension, it is that of the stimuli or the steps, or a dict names a
            layer that is no feature map.
        """
        told = self.channel_dim
        if isinstance(told, Mapping):
            key = key_for("channel_dim", told, *names)
            if key in names and len(shape) != 3:
                raise ValueError(
                    f"channel_dim names layer {key!r}, whose activation has the shape {shape} in one bin. "
                    "Only a feature map, which has three dimensions, has a channel: leave the layer out"
                )
            told = None if key is None else told[key]
        if told is None or len(shape) != 3:
            return None
        time_dim = self.time_dim_of(*names)
        others = [0]  # stimuli and steps
        if isinstance(time_dim, int):
            others = [0, time_dim % 5 or 1]
        n_dims = len(others) + 3
        of_map = [dim for dim in range(n_dims) if dim not in others]
        if not -n_dims <= told < n_dims or told % n_dims in others:
            raise ValueError(
                f"channel_dim={told}, but the channel of layer {names[0]!r} can only be dimension "
                f"{of_map[0]}, {of_map[1]} or {of_map[2]} of its output: give one of these"
            )
        return of_map.index(told % n_dims)

    def units_of(self, names: tuple[str, ...], shape: tuple[int, ...]) -> np.ndarray:
        """Return the indices of the units to record in a layer, in ascending order.

        Parameters
        ----------
        names : tuple of str
            Of the layer, its own first.
        shape : tuple of int
            Of its activation in one bin.

        Raises
        ------
        ValueError
            If an index is out of range, or a layer is missing in a dict of indices.
        """
        n_units = int(np.prod(shape))
        wanted = value_for("units", self.units, *names)
        if wanted is None or (isinstance(wanted, str) and wanted == "all"):
            return np.arange(n_units)
        if isinstance(wanted, int | np.integer) and not isinstance(wanted, bool):
            if wanted < 1:
                raise ValueError(f"units={wanted}: give at least one unit a layer")
            # the layer's name in the seed: a sample does not depend on which other layers are recorded
            rng = np.random.default_rng([self.seed, zlib.crc32(names[0].encode())])
            return np.sort(rng.choice(n_units, size=min(int(wanted), n_units), replace=False))
        indices = np.unique(np.asarray(wanted))
        if indices.dtype.kind not in "iu" or not indices.size:
            raise ValueError(f"units={wanted!r}: give 'all', a number a layer, or indices of units")
        if indices[0] < 0 or indices[-1] >= n_units:
            wrong = indices[0] if indices[0] < 0 else indices[-1]
            raise ValueError(f"unit {wrong} is out of range: layer {names[0]!r} has units 0 to {n_units - 1}")
        return indices.astype(np.int64)

    # -- thresholds ------------------------------------------------------------------------------------

    @property
    def needs_calibration(self) -> bool:
        """Whether a threshold is a rule, which has to be calibrated before it is one number a unit."""
        return needs_calibration(self.threshold)

    def threshold_of(self, layer: Layer) -> np.ndarray:
        """Return the threshold of each recorded unit of a layer: float64 (n_recorded_units,).

        Raises
        ------
        ValueError
            If a dict of thresholds lacks the layer, or its threshold has a wrong shape or is NaN.
        """
        rule = value_for("threshold", self.threshold, *layer.names)
        return values_for(rule, layer.name, layer.shape, layer.units)


def _matched(modules: Mapping[str, nn.Module], patterns: Iterable[str]) -> dict[str, nn.Module]:
    return {n: m for n, m in modules.items() if any(fnmatchcase(n, p) for p in patterns)}

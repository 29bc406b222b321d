"""What spikes are pushed into, in place of being kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
import torch

from ...recording.units import Layer
from ..hooks.selection import Selection


class Sink(Protocol):
    """What spikes can be pushed into: :class:`ann2neo.Summary` is one."""

    def receive(
        self, layer: Layer, activation: torch.Tensor, threshold: np.ndarray, n_steps: np.ndarray
    ) -> None:
        """Take one layer's activations (n_bins, *shape), thresholds, and the bins of each stimulus."""

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Make what all layers received in a forward pass count."""


class Pushing:
    """Pushes what the hooks of a model see into sinks.

    Parameters
    ----------
    selection : Selection
        Which thresholds, and whether NaN is allowed.
    sinks : sequence of Sink
        All of them receive the same.
    """

    def __init__(self, selection: Selection, sinks: Sequence[Sink]) -> None:
        self.sinks, self.allow_nan = sinks, selection.allow_nan
        self._threshold_of = cache(selection.threshold_of)

    def take(self, layer: Layer, activation: torch.Tensor, n_steps: np.ndarray, n_before: int) -> None:
        """Push one layer's activations."""
        for sink in self.sinks:
            sink.receive(layer, activation, self._threshold_of(layer), n_steps)

    def keep(self, taken: Mapping[Layer, Any], n_steps: np.ndarray, output: Any) -> None:
        """Make what was pushed in this pass count."""
        for sink in self.sinks:
            sink.complete(int(n_steps.sum()), allow_nan=self.allow_nan)

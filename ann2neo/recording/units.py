"""Units and where they lie in a layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

if TYPE_CHECKING:
    import pandas as pd


def coordinates(
    units: np.ndarray, shape: tuple[int, ...], channel_dim: int | None = 0
) -> dict[str, np.ndarray]:
    """Return channel, y and x of units of a layer: int64 (n_units,).

    Parameters
    ----------
    units : numpy.ndarray
        int64 (n_units,), their indices in the layer's flattened activation.
    shape : tuple of int
        Shape of the activation in one bin. With three dimensions it is a feature map, else all are −1.
    channel_dim : int, optional
        Which dimension of ``shape`` is the channel; the other two are y and x. All are −1, if it is None:
        unknown.

    Examples
    --------
    >>> {name: values.tolist() for name, values in coordinates(np.array([7]), (2, 2, 3)).items()}
    {'channel': [1], 'y': [0], 'x': [1]}
    >>> {name: values.tolist() for name, values in coordinates(np.array([7]), (2, 2, 3), 2).items()}
    {'channel': [1], 'y': [1], 'x': [0]}
    """
    places = [np.full(len(units), -1)] * 3
    if len(shape) == 3 and channel_dim is not None:
        places = list(np.unravel_index(units, shape))
        places.insert(0, places.pop(channel_dim))
    return {n: p.astype(np.int64) for n, p in zip(("channel", "y", "x"), places, strict=True)}


class Units(Protocol):
    """Units of a layer, with their places and thresholds: a raster has these, and so have sums."""

    @property
    def units(self) -> np.ndarray:
        """Their indices in the layer's flattened activation, int64 (n_units,)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the layer's activation in one bin."""

    @property
    def channel_dim(self) -> int | None:
        """Which dimension of the shape is the channel, if it is a feature map; None: unknown."""

    @property
    def threshold(self) -> np.ndarray:
        """Their thresholds, float64 (n_units,)."""


def unit_table(layers: Mapping[str, Units]) -> pd.DataFrame:
    """Return the units of layers, one row each: layer, unit, channel, y, x, threshold.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> unit_table({"relu": SpikeRaster.from_dense([[1, 0, 1]], units=[3], shape=(1, 2, 2), threshold=0.5)})
      layer  unit  channel  y  x  threshold
    0  relu     3        0  1  1        0.5
    """
    import pandas as pd

    tables = [
        pd.DataFrame(
            {
                "layer": name,
                "unit": layer.units,
                **coordinates(layer.units, layer.shape, layer.channel_dim),
                "threshold": layer.threshold,
            }
        )
        for name, layer in layers.items()
    ]
    return pd.concat(tables, ignore_index=True)


@dataclass(eq=False)
class Layer:
    """One place in the model that fires once in every forward pass.

    Parameters
    ----------
    name : str
        Name of the module, or of the function with the module it is called in, as in torchvision's feature
        extraction: ``relu_1`` if it is the second firing of ``relu`` in a pass.
    modules : tuple of str
        Names under which the model knows the module; none for a function.
    shape : tuple of int
        Shape of its activation in one bin.
    units : numpy.ndarray
        int64 (n_recorded_units,), indices of the recorded units in the flattened activation.
    channel_dim : int, optional
        Which dimension of a shape of three, a feature map, is the channel; None: unknown.

    Examples
    --------
    >>> layer = Layer("relu_1", ("relu",), (2, 3), np.array([0, 5]))
    >>> layer.names, layer.all_units, layer.recorded(torch.arange(6.0).reshape(1, 2, 3)).tolist()
    (('relu_1', 'relu'), False, [[0.0, 5.0]])
    """

    name: str
    modules: tuple[str, ...]
    shape: tuple[int, ...]
    units: np.ndarray
    channel_dim: int | None = 0

    @property
    def names(self) -> tuple[str, ...]:
        """All names it answers to, its own first."""
        return (self.name, *self.modules)

    @property
    def all_units(self) -> bool:
        """Whether every unit of the layer is recorded."""
        return len(self.units) == int(np.prod(self.shape))

    def recorded(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the recorded units' part, (n_bins, n_recorded_units), of an activation (n_bins, *shape)."""
        flat = activation.reshape(len(activation), int(np.prod(self.shape)))
        return flat if self.all_units else flat[:, torch.from_numpy(self.units).to(flat.device)]

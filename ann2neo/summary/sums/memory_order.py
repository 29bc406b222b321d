"""In which order the units of a layer lie in memory: an activation is read as it lies and not copied."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class MemoryOrder:
    """The dimensions of a layer's activation in one bin, from the slowest to the fastest in memory.

    Parameters
    ----------
    shape : tuple of int
        Shape of the activation in one bin.
    dims : tuple of int
        Its dimensions in the order in memory.

    Examples
    --------
    >>> channels_last = torch.zeros(9, 2, 1, 3).contiguous(memory_format=torch.channels_last)
    >>> order = MemoryOrder.of(channels_last)
    >>> order.dims, order.is_plain
    ((1, 2, 0), False)
    >>> order.to_memory(torch.tensor([0, 1, 2, 10, 11, 12])).tolist()
    [0, 10, 1, 11, 2, 12]
    >>> order.unit_at(1), order.places(np.array([3])).tolist()
    (3, [1])
    """

    shape: tuple[int, ...]
    dims: tuple[int, ...]

    @classmethod
    def plain(cls, shape: tuple[int, ...]) -> MemoryOrder:
        """Return the order of the units themselves."""
        return cls(shape, tuple(range(len(shape))))

    @classmethod
    def of(cls, activation: torch.Tensor) -> MemoryOrder:
        """Return the order in which an activation (n_bins, *shape) lies in memory."""
        strides = activation.stride()[1:]
        dims = sorted(range(len(strides)), key=lambda d: -strides[d])
        return cls(tuple(activation.shape[1:]), tuple(dims))

    @property
    def is_plain(self) -> bool:
        """Whether units lie in memory in their own order."""
        return self.dims == tuple(range(len(self.shape)))

    def rows(self, activation: torch.Tensor) -> torch.Tensor:
        """Return an activation (n_bins, *shape) as (n_bins, n_units), units as they lie in memory."""
        n_units = math.prod(self.shape)
        return activation.permute(0, *(1 + d for d in self.dims)).reshape(len(activation), n_units)

    def to_memory(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (…, n_units) in the order in memory, from the order of units."""
        if self.is_plain:
            return values
        lead = values.shape[:-1]
        parted = values.reshape(*lead, *self.shape)
        return parted.permute(*range(len(lead)), *(len(lead) + d for d in self.dims)).reshape(*lead, -1)

    def to_units(self, values: torch.Tensor) -> torch.Tensor:
        """Return values (…, n_units) in the order of units, from the order in memory."""
        if self.is_plain:
            return values
        lead, back = values.shape[:-1], np.argsort(self.dims)
        parted = values.reshape(*lead, *self._shape_in_memory)
        return parted.permute(*range(len(lead)), *(len(lead) + int(d) for d in back)).reshape(*lead, -1)

    def places(self, units: np.ndarray) -> np.ndarray:
        """Return where in memory units lie: int64 (n_units,)."""
        if self.is_plain:
            return units
        parted = np.unravel_index(units, self.shape)
        return np.ravel_multi_index([parted[d] for d in self.dims], self._shape_in_memory).astype(np.int64)

    def unit_at(self, place: int) -> int:
        """Return which unit lies at a place in memory."""
        if self.is_plain:
            return place
        parted = np.unravel_index(place, self._shape_in_memory)
        return int(np.ravel_multi_index([parted[d] for d in np.argsort(self.dims)], self.shape))

    @property
    def _shape_in_memory(self) -> tuple[int, ...]:
        return tuple(self.shape[d] for d in self.dims)

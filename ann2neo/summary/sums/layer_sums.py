"""What is added up for one layer while stimuli stream by."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ..kernels import choose
from ..kernels.seam import join
from ..kernels.state import (
    CV2_FRACTION,
    CV2_WHOLE,
    FIELDS,
    FRACTION_BITS,
    LAST_ISI,
    LV_FRACTION,
    LV_WHOLE,
    TAIL,
    TRAIL,
    WORD,
    Backend,
    new_state,
)
from ..kernels.windows import Layout
from ..statistics import LONGEST_ISI, Sums
from .memory_order import MemoryOrder

BUFFER = 256
"""How many bins are kept as bits before they are folded: 32 bytes a unit, beside 152 for its state."""

BYTES_PER_UNIT = 8 * len(FIELDS) + BUFFER // 8 + 8 + 4
"""State, bits, histogram of active units and threshold of a unit."""


def sample(layer: str, n_units: int, n_correlated: int, seed: int) -> np.ndarray:
    """Return which units of a layer are looked at in pairs: int64, positions in ascending order.

    Examples
    --------
    >>> sample("relu", n_units=3, n_correlated=50, seed=0).tolist()
    [0, 1, 2]
    """
    rng = np.random.default_rng([seed, zlib.crc32(layer.encode())])
    chosen = rng.choice(n_units, size=min(n_correlated, n_units), replace=False)
    return np.sort(chosen).astype(np.int64)


class LayerSums:
    """Sums of one layer over a stretch of pseudo-time.

    :meth:`receive` turns activations into bits, which count only after :meth:`commit`. The bits are added
    to the sums when their buffer is full, or when somebody looks at the sums.

    Parameters
    ----------
    name : str
        The layer.
    units : numpy.ndarray
        int64 (n_units,), the index of each unit in the layer's flattened activation.
    shape : tuple of int
        Shape of the layer's activation in one bin.
    threshold : numpy.ndarray
        float64 (n_units,).
    layout : Layout
        Trials and windows.
    start : int
        First bin of the stretch.
    channel_dim : int, optional
        Which dimension of the shape is the channel, if it is a feature map; None: unknown.
    correlated : numpy.ndarray, optional
        int64, positions in ``units`` of those whose common spikes are counted: see :func:`sample`.
    isi_histogram : bool
        Whether to count intervals by length.
    backend : str, optional
        One of :data:`ann2neo.summary.kernels.BACKENDS`.
    device : torch.device, optional
        Where the sums are; by default on the CPU.

    Examples
    --------
    >>> layer = LayerSums("relu", np.arange(2), (2,), np.zeros(2), Layout(2), 0)
    >>> _ = layer.receive(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]))
    >>> layer.commit(4)
    >>> layer.sums().sum_counts_squared, layer.complexity.tolist()
    (array([5, 0]), [1, 3, 0])
    """

    def __init__(
        self,
        name: str,
        units: np.ndarray,
        shape: tuple[int, ...],
        threshold: np.ndarray,
        layout: Layout,
        start: int,
        *,
        channel_dim: int | None = 0,
        correlated: np.ndarray | None = None,
        isi_histogram: bool = False,
        backend: str | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.name, self.units, self.shape, self.threshold = name, units, tuple(shape), threshold
        self.channel_dim = channel_dim
        self.correlated = np.empty(0, np.int64) if correlated is None else correlated
        self._wants_histogram = isi_histogram
        self.layout, self.start, self.backend_name = layout, start, backend
        self.device = device or torch.device("cpu")
        self.n_folded = self.n_buffered = 0
        self._order = MemoryOrder.plain(self.shape)
        self._order_is_open = True  # the first activation decides: it need not be copied then
        n = len(units)
        try:
            self.state = new_state(n, self.device)
            self.histogram = self._zeros(n, LONGEST_ISI + 1) if isi_histogram else None
            self.complexity = self._zeros(n + 1)
            self.coactive = self._zeros(len(self.correlated), len(self.correlated))
            self._words = torch.zeros(BUFFER // WORD, n, dtype=torch.int32, device=self.device)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        self._thresholds: dict[torch.dtype, torch.Tensor] = {}
        self._sample: tuple[torch.Tensor, torch.Tensor] | None = None
        self._pending: torch.Tensor | None = None

    def _zeros(self, *shape: int) -> torch.Tensor:
        return torch.zeros(*shape, dtype=torch.int64, device=self.device)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.units)

    @property
    def n_bins(self) -> int:
        """Number of bins, folded or not."""
        return self.n_folded + self.n_buffered

    @property
    def backend(self) -> Backend:
        """What does the work where the sums are."""
        return choose(self.device, self.backend_name)

    def check(
        self, units: np.ndarray, shape: tuple[int, ...], threshold: np.ndarray, channel_dim: int | None
    ) -> None:
        """Raise ValueError if these are not the units, shape, thresholds and channels of the sums."""
        if self.shape != tuple(shape) or not _equal(self.units, units):
            raise ValueError(
                f"layer {self.name!r} has {len(units)} units of an activation of shape {tuple(shape)}, but "
                f"{self.n_units} of shape {self.shape} in the summary: give the same in all batches and parts"
            )
        if not _equal(self.threshold, threshold):
            unit = int(units[self.threshold != threshold][0])
            raise ValueError(
                f"unit {unit} of layer {self.name!r} has another threshold than in the summary: calibrate "
                "only once, and give the same numbers to all runs and parts"
            )
        if self.channel_dim != channel_dim:
            raise ValueError(
                f"the channel of layer {self.name!r} is {_where(channel_dim)}, but it is "
                f"{_where(self.channel_dim)} in the summary: give the same channel_dim= to all runs and parts"
            )
        self.units, self.threshold = units, threshold  # the next check is then by identity

    # -- adding bins ---------------------------------------------------------------------------------

    def receive(self, activation: torch.Tensor) -> torch.Tensor:
        """Threshold the activations of the next bins; they count once they are committed.

        Parameters
        ----------
        activation : torch.Tensor
            (n_bins, n_units), or (n_bins, *shape) of all units, in any memory format.

        Returns
        -------
        torch.Tensor
            int64 (2,): how many activations are NaN, and where the first is, a place in memory as for
            :meth:`unit_at` (−1 if there is no NaN).
        """
        try:
            rows = self._rows(activation.to(self.device))
            self._make_room(len(rows))
            dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
            if dtype not in self._thresholds:
                limits = torch.from_numpy(self.threshold).to(dtype).to(self.device)
                self._thresholds[dtype] = self._order.to_memory(limits)
            n_active, nan = self.backend.pack(rows, self._thresholds[dtype], self._words, self.n_buffered)
        except torch.OutOfMemoryError as error:
            raise self._out_of_memory(error) from error
        self._pending = n_active
        return nan

    def receive_bits(self, words: torch.Tensor, n_active: torch.Tensor) -> None:
        """Take the next bins as bits, int32 (n_words, n_units)."""
        self.fold()
        self._make_room(WORD * len(words))
        self._words[: len(words)] = self._order.to_memory(words.to(self.device))
        self._pending = n_active.to(self.device)

    @property
    def pending(self) -> torch.Tensor:
        """Number of spikes in each bin that was received last: int64 (n_bins,)."""
        assert self._pending is not None
        return self._pending

    def commit(self, n_bins: int) -> None:
        """Make the bins that were received last part of the stretch."""
        self.complexity.index_add_(0, self.pending, torch.ones_like(self.pending))
        self.n_buffered += n_bins
        self._pending = None

    def _rows(self, activation: torch.Tensor) -> torch.Tensor:
        """Return the activation as (n_bins, n_units), units as they lie in memory."""
        if activation.ndim == 2:
            return activation
        if self._order_is_open:
            self._set_order(MemoryOrder.of(activation))
        return self._order.rows(activation)

    def _set_order(self, order: MemoryOrder) -> None:
        """Keep the units in another order in memory from now on."""
        if order != self._order:
            arrays = self.arrays()
            self._order = order
            self._put(arrays)
        self._order_is_open = False

    def unit_at(self, place: int) -> int:
        """Return which unit lies at a place in memory."""
        return int(self.units[self._order.unit_at(place)])

    def _make_room(self, n_bins: int) -> None:
        if self.n_buffered + n_bins > WORD * len(self._words):
            self.fold()
        if n_bins > WORD * len(self._words):
            shape = (-(-n_bins // WORD), self.n_units)
            self._words = torch.zeros(shape, dtype=torch.int32, device=self.device)

    def fold(self) -> None:
        """Add the buffered bits to the sums."""
        first, stop = self.start + self.n_folded, self.start + self.n_bins
        for segment, ends in self.layout.segments(self.start, first, stop):
            self.backend.fold(self._words, segment, self.state, self.histogram)
            if ends:  # open intervals and windows end with their trial
                self.state[TRAIL] = -1
                self.state[[LAST_ISI, TAIL]] = 0
        if len(self.correlated) and self.n_buffered:
            self._count_common_spikes()
        self.n_folded, self.n_buffered = self.n_bins, 0

    def _count_common_spikes(self) -> None:
        if self._sample is None:
            places = torch.from_numpy(self._order.places(self.correlated)).to(self.device)
            self._sample = places, torch.arange(WORD, device=self.device)[:, None]
        places, shifts = self._sample
        bits = self._words[:, None, places] >> shifts & 1
        spikes = bits.flatten(0, 1)[: self.n_buffered].double()
        self.coactive += (spikes.T @ spikes).long()

    # -- what was added up ---------------------------------------------------------------------------

    def sums(self) -> Sums:
        """Return the sums of all units, in the order of ``units``."""
        self.fold()
        rows = self._order.to_units(self.state).cpu().contiguous().numpy()
        field = dict(zip(FIELDS, rows, strict=True))
        start, stop, one = self.start, self.start + self.n_bins, 2.0**-FRACTION_BITS
        n_trials = len(self.layout.pieces(start, stop))

        def same(number: int) -> np.ndarray:
            return np.full(self.n_units, number)

        return Sums(
            n_bins=same(self.n_bins),
            n_adjacent=same(self.n_bins - n_trials),
            n_windows=same(self.layout.n_windows(start, stop)),
            sum_cv2=2 * (rows[CV2_WHOLE] + rows[CV2_FRACTION] * one),
            sum_lv=3 * (rows[LV_WHOLE] + rows[LV_FRACTION] * one),
            isi_histogram=None if self.histogram is None else self._unit_histogram().cpu().numpy(),
            **{name: field[name] for name in Sums.KEPT},
        )

    def _unit_histogram(self) -> torch.Tensor:
        assert self.histogram is not None
        return self._order.to_units(self.histogram.T).T

    def merge(self, other: LayerSums) -> LayerSums:
        """Return the sums of this stretch and the next one, which begins where this one ends."""
        whole = self.like(self.device)
        whole.load(self.arrays(), self.n_bins + other.n_bins)
        right = other.like(self.device)
        right.load(other.arrays(), other.n_bins)
        if whole.histogram is not None and right.histogram is not None:
            whole.histogram += right.histogram
        bounds = (self.start, other.start, other.start + other.n_bins)
        whole.state.copy_(join(whole.state, right.state, self.layout, bounds, whole.histogram))
        whole.complexity += right.complexity
        whole.coactive += right.coactive
        return whole

    def like(self, device: torch.device) -> LayerSums:
        """Return empty sums of the same units, elsewhere."""
        return LayerSums(
            self.name,
            self.units,
            self.shape,
            self.threshold,
            self.layout,
            self.start,
            channel_dim=self.channel_dim,
            correlated=self.correlated,
            isi_histogram=self._wants_histogram,
            backend=self.backend_name,
            device=device,
        )

    def arrays(self) -> dict[str, torch.Tensor]:
        """Return what was added up, units in the order of ``units``."""
        self.fold()
        arrays = {
            "state": self._order.to_units(self.state).contiguous(),
            "complexity": self.complexity,
            "coactive": self.coactive,
        }
        return arrays if self.histogram is None else {**arrays, "histogram": self._unit_histogram()}

    def load(self, arrays: Mapping[str, Any], n_bins: int) -> None:
        """Take over what :meth:`arrays` gave for so many bins."""
        self._put(arrays)
        self._order_is_open, self.n_folded, self.n_buffered = True, n_bins, 0

    def _put(self, arrays: Mapping[str, Any]) -> None:
        self._thresholds.clear()
        self._sample = None
        self.state.copy_(self._order.to_memory(arrays["state"]))
        self.complexity.copy_(arrays["complexity"])
        self.coactive.copy_(arrays["coactive"])
        if self.histogram is not None:
            self.histogram.copy_(self._order.to_memory(arrays["histogram"].T).T)

    def _out_of_memory(self, error: Exception) -> RuntimeError:
        each = BYTES_PER_UNIT + (8 * (LONGEST_ISI + 1) if self._wants_histogram else 0)
        return RuntimeError(
            f"no memory left on {self.device} at layer {self.name!r}: its {self.n_units} units take {each} "
            f"bytes each, {self.n_units * each / 1e9:.2f} GB. Sample units=, name fewer layers=, lower "
            f"batch_size, or leave out isi_histogram ({8 * (LONGEST_ISI + 1)} bytes a unit). ({error})"
        )


def _where(channel_dim: int | None) -> str:
    return "unknown" if channel_dim is None else f"dimension {channel_dim} of a bin"


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one is other or np.array_equal(one, other, equal_nan=one.dtype.kind == "f")

"""What is added up for all layers of a network: a forward pass counts as a whole or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from ...recording.nan import nan_error
from ...recording.units import Layer
from ..kernels.windows import Layout
from ..statistics import Sums
from .layer_sums import LayerSums, sample
from .uninterrupted import uninterrupted

MOST_BINS = 3_037_000_499
"""Bins of the longest stretch, √2⁶³: a squared interval or count of spikes may be its square."""


class NetworkSums:
    """Sums of all layers over a stretch of pseudo-time.

    Layers are received one by one, while a forward pass goes on, and count once it is completed.

    Parameters
    ----------
    layout : Layout
        Trials and windows.
    start : int
        First bin of the stretch.
    isi_histogram : bool
        Whether to count intervals by length.
    n_correlated, seed : int
        How many units of each layer to sample, to count their common spikes.
    backend : str, optional
        One of :data:`ann2neo.summary.kernels.BACKENDS`.

    Examples
    --------
    >>> network = NetworkSums(Layout(2), 0)
    >>> network.receive(Layer("relu", (), (2,), np.arange(2)), torch.tensor([[1.0, 0.0]]), np.zeros(2))
    >>> network.complete(1)
    >>> network.n_bins, network.complexity.tolist()
    (1, [0, 1, 0])
    """

    def __init__(
        self,
        layout: Layout,
        start: int,
        *,
        isi_histogram: bool = False,
        n_correlated: int = 0,
        seed: int = 0,
        backend: str | None = None,
    ) -> None:
        self.layout, self.start = layout, start
        self.isi_histogram, self.n_correlated, self.seed = isi_histogram, n_correlated, seed
        self.backend = backend
        self.n_bins = self.n_nan = 0
        self.layers: dict[str, LayerSums] = {}
        self.complexity = torch.zeros(1, dtype=torch.int64)
        self._received: dict[str, torch.Tensor] = {}
        self._steps: np.ndarray | None = None

    @property
    def stop(self) -> int:
        """End of the stretch: the bin that follows its last."""
        return self.start + self.n_bins

    def layer(self, name: str) -> LayerSums:
        """Return the sums of a layer.

        Raises
        ------
        KeyError
            If there is no such layer.
        """
        if name not in self.layers:
            raise KeyError(f"no layer {name!r}; the summary has {list(self.layers)}")
        return self.layers[name]

    @torch.inference_mode(mode=False)  # tensors made in it could not be added to outside of it
    def receive(
        self,
        layer: Layer,
        activation: torch.Tensor,
        threshold: np.ndarray,
        n_steps: np.ndarray | None = None,
    ) -> None:
        """Take one layer's activations: see :meth:`ann2neo.Summary.receive`."""
        self._steps = n_steps
        sums = self._sums_of(layer, threshold, activation.device)
        with uninterrupted():
            rows = activation if layer.all_units else layer.recorded(activation)
            self._received[layer.name] = sums.receive(rows)

    @torch.inference_mode(mode=False)
    def receive_bits(
        self, layer: Layer, words: torch.Tensor, n_active: torch.Tensor, threshold: np.ndarray
    ) -> None:
        """Take one layer's spikes: see :meth:`ann2neo.Summary.receive_bits`."""
        self._steps = None
        sums = self._sums_of(layer, threshold, words.device)
        with uninterrupted():
            sums.receive_bits(words, n_active)
            self._received[layer.name] = torch.tensor([0, -1])  # no NaN

    def _sums_of(self, layer: Layer, threshold: np.ndarray, device: torch.device) -> LayerSums:
        """Return the sums of a layer. If it fires again, the pass before failed and is forgotten."""
        if layer.name in self._received:
            self._received = {}
        if layer.name in self.layers:
            self.layers[layer.name].check(layer.units, layer.shape, threshold, layer.channel_dim)
            return self.layers[layer.name]
        if self.n_bins:
            raise ValueError(
                f"layer {layer.name!r} is new: this summary has {list(self.layers)}, and it needs these, no "
                "more, in every batch"
            )
        self.layers[layer.name] = LayerSums(
            layer.name,
            layer.units,
            layer.shape,
            threshold,
            self.layout,
            self.start,
            channel_dim=layer.channel_dim,
            correlated=sample(layer.name, len(layer.units), self.n_correlated, self.seed),
            isi_histogram=self.isi_histogram,
            backend=self.backend,
            device=device if device.type == "cuda" else torch.device("cpu"),
        )
        return self.layers[layer.name]

    def complete(self, n_bins: int, *, allow_nan: bool = False) -> None:
        """Add the bins that every layer received.

        Raises
        ------
        ValueError
            If a layer received nothing, or an activation is NaN: then no bin is added.
        """
        received, self._received = self._received, {}
        if not self.n_bins:  # forget layers of a first forward pass that failed
            self.layers = {name: self.layers[name] for name in received}
        lacking = [name for name in self.layers if name not in received]
        if lacking:
            raise ValueError(
                f"layer {lacking[0]!r} is lacking: this summary has {list(self.layers)}, and it needs all in "
                "every batch"
            )
        self.layout.trial(max(self.stop, self.stop + n_bins - 1))  # raises beyond the last trial
        _check_length(self.n_bins + n_bins)
        n_nan = self._check_nan(received, allow_nan)
        with uninterrupted():
            self._commit(n_bins)
            self.n_nan += n_nan

    def _check_nan(self, received: Mapping[str, torch.Tensor], allow_nan: bool) -> int:
        together = torch.stack([nan.to(next(iter(received.values())).device) for nan in received.values()])
        for name, (n_nan, first) in zip(received, together.tolist(), strict=True):
            if n_nan and not allow_nan:
                row, place = divmod(first, self.layers[name].n_units)
                raise nan_error(name, self.layers[name].unit_at(place), self._where(row))
        return int(together[:, 0].sum())

    def _where(self, row: int) -> str:
        steps = 1 if self._steps is None else int(self._steps[0])
        if self._steps is not None and (self._steps != steps).any():
            return f"bin {self.stop + row}"
        step = f", step {row % steps}" if steps > 1 else ""
        return f"stimulus {(self.stop + row) // steps}{step}"

    @torch.inference_mode(mode=False)
    def _commit(self, n_bins: int) -> None:
        layers = list(self.layers.values())
        if not self.n_bins:
            n_units = sum(layer.n_units for layer in layers)
            self.complexity = torch.zeros(n_units + 1, dtype=torch.int64, device=layers[0].device)
        n_active = torch.stack([layer.pending.to(self.complexity.device) for layer in layers]).sum(0)
        self.complexity.index_add_(0, n_active, torch.ones_like(n_active))
        for layer in layers:
            layer.commit(n_bins)
        self.n_bins += n_bins

    def sums(self) -> Sums:
        """Return the sums of all units, layer after layer."""
        return Sums.concatenate([layer.sums() for layer in self.layers.values()])

    def check_fits(self, other: NetworkSums) -> None:
        """Raise ValueError if another stretch has other layers, units or thresholds."""
        if list(self.layers) != list(other.layers):
            raise ValueError(
                f"cannot merge: one summary has the layers {list(self.layers)}, the other "
                f"{list(other.layers)}: record the same layers in all parts"
            )
        for name, layer in self.layers.items():
            two = other.layers[name]
            layer.check(two.units, two.shape, two.threshold, two.channel_dim)

    def merge(self, other: NetworkSums) -> NetworkSums:
        """Return the sums of this stretch and of the next one, which begins where this one ends.

        Raises
        ------
        ValueError
            If the sums cannot hold so many bins.
        """
        _check_length(self.n_bins + other.n_bins)
        whole = NetworkSums(
            self.layout,
            self.start,
            isi_histogram=self.isi_histogram,
            n_correlated=self.n_correlated,
            seed=self.seed,
            backend=self.backend,
        )
        whole.layers = {name: layer.merge(other.layers[name]) for name, layer in self.layers.items()}
        whole.complexity = self.complexity + other.complexity.to(self.complexity.device)
        whole.n_bins, whole.n_nan = self.n_bins + other.n_bins, self.n_nan + other.n_nan
        return whole

    def state(self) -> dict[str, Any]:
        """Return what was added up: ``complexity``, and ``layers`` with all that :meth:`load` needs."""
        layers = [
            {
                "name": layer.name,
                "shape": layer.shape,
                "channel_dim": layer.channel_dim,
                "units": torch.from_numpy(layer.units.copy()),
                "threshold": torch.from_numpy(layer.threshold.copy()),
                "correlated": torch.from_numpy(layer.correlated.copy()),
                **{name: values.clone() for name, values in layer.arrays().items()},
            }
            for layer in self.layers.values()
        ]
        return {"complexity": self.complexity.clone(), "layers": layers}

    def load(self, state: Mapping[str, Any], n_bins: int, n_nan: int) -> None:
        """Take over a copy of what :meth:`state` gave for so many bins."""
        self.n_bins, self.n_nan = n_bins, n_nan
        self.complexity = state["complexity"].clone()
        for saved in state["layers"]:
            layer = LayerSums(
                saved["name"],
                saved["units"].numpy().copy(),
                tuple(saved["shape"]),
                saved["threshold"].numpy().copy(),
                self.layout,
                self.start,
                channel_dim=saved.get("channel_dim", 0),
                correlated=saved["correlated"].numpy().copy(),
                isi_histogram=self.isi_histogram,
                backend=self.backend,
                device=saved["state"].device,
            )
            layer.load(saved, n_bins)
            self.layers[layer.name] = layer


def _check_length(n_bins: int) -> None:
    if n_bins > MOST_BINS:
        raise ValueError(
            f"{n_bins} bins in one summary: its sums hold {MOST_BINS}. Begin another summary, with start="
        )

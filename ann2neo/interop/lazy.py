"""Neo spike trains that are made when they are used: views of spike times already in memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import neo
import numpy as np
import quantities as pq
from neo.core.spiketrainlist import SpikeTrainList

_MS = pq.ms.dimensionality

_HZ = 1.0 * pq.Hz


def spiketrain_view(
    times: np.ndarray, t_start: pq.Quantity, t_stop: pq.Quantity, segment: neo.Segment | None = None
) -> neo.SpikeTrain:
    """Make a SpikeTrain of times in ms, which must be sorted and in range: nothing checks them.

    So it costs a small part of what Neo's constructor costs: see ``benchmarks/spiketrains.py``.
    """
    train = times.view(neo.SpikeTrain)
    train._dimensionality = _MS
    train.t_start, train.t_stop, train.sampling_rate = t_start, t_stop, _HZ
    train.segment = segment
    return train


class LazySpikeTrainList(SpikeTrainList):  # type: ignore[misc, unused-ignore]  # Neo has no types
    """A :class:`neo.core.spiketrainlist.SpikeTrainList` that makes its trains when they are used.

    A train lives as long as somebody holds it. Its annotations stay, also those added later. If you change
    anything else, such as its name, description, waveforms or array annotations, hold the train itself:
    ``trains = list(segment.spiketrains)`` holds all. When the list is changed, it turns into a plain one.

    Parameters
    ----------
    n_trains : int
        Length of the list.
    make : callable
        From position to SpikeTrain.
    parent : neo.Segment, optional
        The segment that the list belongs to.

    Examples
    --------
    >>> times, stop = np.array([0.5, 2.5]), 3.0 * pq.ms
    >>> trains = LazySpikeTrainList(2, lambda i: spiketrain_view(times[:i], 0 * pq.ms, stop), None)
    >>> len(trains), trains[1]
    (2, <SpikeTrain(array([0.5]) * ms, [0.0 ms, 3.0 ms])>)
    """

    def __init__(
        self, n_trains: int, make: Callable[[int], neo.SpikeTrain], parent: neo.Segment | None
    ) -> None:
        self._plain: list[neo.SpikeTrain] | None
        super().__init__(parent=parent)
        self._make = make
        self._live: list[Callable[[], neo.SpikeTrain | None]] = [lambda: None] * n_trains
        self._annotations_at: list[dict[str, Any] | None] = [None] * n_trains

    @property
    def _items(self) -> list[neo.SpikeTrain]:
        # Neo asks for its plain list: give it a complete one, and keep it from now on
        if self._plain is None:
            self._plain = [self._train_at(i) for i in range(len(self))]
        return self._plain

    @_items.setter
    def _items(self, items: list[neo.SpikeTrain] | None) -> None:
        self._plain = items

    def _train_at(self, i: int) -> neo.SpikeTrain:
        train = self._live[i]()
        if train is None:
            train = self._make(i % len(self))
            kept = self._annotations_at[i]
            if kept is None:
                self._annotations_at[i] = train.annotations
            else:
                train.annotations = kept
            self._live[i] = weakref.ref(train)
        return train

    def __len__(self) -> int:
        return len(self._live if self._plain is None else self._plain)

    def __iter__(self) -> Iterator[neo.SpikeTrain]:
        if self._plain is not None:
            return iter(self._plain)
        return (self._train_at(i) for i in range(len(self)))

    def __getitem__(self, i: Any) -> Any:
        if self._plain is not None:
            return super().__getitem__(i)
        if isinstance(i, slice):
            return SpikeTrainList(items=[self._train_at(j) for j in range(*i.indices(len(self)))])
        return self._train_at(i)

    def __add__(self, other: Any) -> Any:
        return SpikeTrainList(items=list(self), parent=self.segment) + other

    def __reduce__(self) -> tuple[Any, ...]:
        # copied and pickled as Neo's own list, so that it can be opened without ann2neo
        lazy = ("_make", "_live", "_annotations_at", "_plain")
        state = {name: value for name, value in self.__dict__.items() if name not in lazy}
        return SpikeTrainList, (), {**state, "_items": list(self)}

"""What was shown when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Stimuli:
    """What was shown when: one entry a stimulus, in the order of presentation.

    Parameters
    ----------
    onsets : numpy.ndarray
        int64 (n_stimuli,), the first bin of each presentation, which lasts until the next one.
    ids : numpy.ndarray
        int64 (n_stimuli,), which stimulus it was.
    labels : numpy.ndarray, optional
        (n_stimuli,), its class: integers, numbers or strings.
    array_annotations : mapping of str to numpy.ndarray
        Anything else of each stimulus, (n_stimuli,): its file, what the model took it for.

    Examples
    --------
    >>> stimuli = Stimuli.in_order(2, labels=["cat", "dog"], array_annotations={"file": ["a.png", "b.png"]})
    >>> stimuli.labels.tolist(), stimuli.array_annotations["file"].tolist()
    (['cat', 'dog'], ['a.png', 'b.png'])
    """

    onsets: np.ndarray
    ids: np.ndarray
    labels: np.ndarray | None = None
    array_annotations: Mapping[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def in_order(
        cls,
        n_stimuli: int,
        *,
        n_steps: Any = 1,
        ids: Any = None,
        labels: Any = None,
        array_annotations: Mapping[str, Any] | None = None,
    ) -> Stimuli:
        """Lay out stimuli one after the other.

        Parameters
        ----------
        n_stimuli : int
            How many there are.
        n_steps : int or array
            Bins of each stimulus: one number for all, or int (n_stimuli,).
        ids : array of int, optional
            (n_stimuli,), which stimulus it was; by default its place.
        labels : array, optional
            (n_stimuli,), its class.
        array_annotations : mapping of str to array, optional
            Anything else of each stimulus, (n_stimuli,).

        Raises
        ------
        ValueError
            If an array has not one value a stimulus, ids are not whole numbers, or an annotation has a name
            that means something else or that files cannot keep.
        """
        for name in array_annotations or {}:
            if name in NOT_ANNOTATIONS or not (isinstance(name, str) and name.isidentifier()):
                raise ValueError(
                    f"{name!r} cannot be the name of a stimulus annotation: give a word of letters, digits "
                    f"and _, other than {', '.join(NOT_ANNOTATIONS)}"
                )
        columns = {"labels": labels, **(array_annotations or {})}
        values = {name: _one_each(name, v, n_stimuli) for name, v in columns.items() if v is not None}
        each = n_steps if np.ndim(n_steps) else np.full(n_stimuli, n_steps)
        lengths = _whole_numbers("n_steps", each, n_stimuli)
        if (lengths < 1).any():
            raise ValueError(f"stimulus {int((lengths < 1).argmax())} takes no bin: leave it out")
        return cls(
            np.cumsum(lengths) - lengths,
            _whole_numbers("ids", np.arange(n_stimuli) if ids is None else ids, n_stimuli),
            values.pop("labels", None),
            values,
        )

    def take(self, which: np.ndarray, onsets: np.ndarray) -> Stimuli:
        """Return chosen stimuli, in the order given, at new onsets."""
        return Stimuli(
            onsets,
            self.ids[which],
            None if self.labels is None else self.labels[which],
            {name: values[which] for name, values in self.array_annotations.items()},
        )

    def __len__(self) -> int:
        return len(self.onsets)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Stimuli) or (self.labels is None) != (other.labels is None):
            return False
        if self.array_annotations.keys() != other.array_annotations.keys():
            return False
        pairs = [(self.onsets, other.onsets), (self.ids, other.ids)]
        if self.labels is not None and other.labels is not None:
            pairs.append((self.labels, other.labels))
        pairs += [(values, other.array_annotations[k]) for k, values in self.array_annotations.items()]
        return all(_same(one, two) for one, two in pairs)

    __hash__ = None  # type: ignore[assignment]


NOT_ANNOTATIONS = (
    "ids", "labels", "onsets", "label", "stimulus_id", "start_time", "stop_time", "segment",
    "self", "neo_name", "nix_name",
)  # fmt: skip
"""Names that mean something else, in a recording, in Neo or in files."""


def _one_each(name: str, values: Any, n_stimuli: int) -> np.ndarray:
    """Return values (n_stimuli,) as int64, float64 or str, which every format keeps."""
    given = np.asarray(values)
    if given.shape != (n_stimuli,):
        raise ValueError(
            f"{name} of shape {given.shape} for {n_stimuli} stimuli: "
            f"give one value for each stimulus, shape ({n_stimuli},)"
        )
    if given.dtype.kind == "u" and (given > np.iinfo(np.int64).max).any():
        raise ValueError(f"{name} go up to {given.max()}: give whole numbers below 2**63, or strings")
    kind = {"i": np.int64, "u": np.int64, "b": np.int64, "f": np.float64}.get(given.dtype.kind, str)
    return given.astype(kind)


def _whole_numbers(name: str, values: Any, n_stimuli: int) -> np.ndarray:
    given = np.asarray(values)
    if given.dtype.kind not in "iu":
        raise ValueError(f"{name} are of type {given.dtype}: give whole numbers")
    return _one_each(name, given, n_stimuli)


def _same(one: np.ndarray, two: np.ndarray) -> bool:
    numbers = one.dtype.kind == two.dtype.kind == "f"
    return one.dtype.kind == two.dtype.kind and np.array_equal(one, two, equal_nan=numbers)

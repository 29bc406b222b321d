"""Time within a stimulus: which steps of a layer's output are bins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def into_bins(
    layer: str,
    output: Any,
    time_dim: int | None,
    shown: torch.Tensor | None,
    may_be_empty: bool = False,
) -> tuple[torch.Tensor, np.ndarray]:
    """Return a layer's output with bins first, stimulus by stimulus, and the bins each stimulus takes.

    Parameters
    ----------
    layer : str
        For messages.
    output : torch.Tensor or PackedSequence
        Apart from ``time_dim``, the first dimension is the stimuli.
    time_dim : int, optional
        The dimension that is time: each step is a bin. By default each stimulus is one bin. A
        PackedSequence has its own.
    shown : torch.Tensor, optional
        Which steps are bins: bool (n_stimuli, n_steps), or the number of steps from the first one on,
        int (n_stimuli,). The others are padding.
    may_be_empty : bool
        A stimulus may have no bin.

    Returns
    -------
    activation : torch.Tensor
        (n_bins, ...).
    n_steps : numpy.ndarray
        int64 (n_stimuli,).

    Raises
    ------
    ValueError
        If there is no such dimension, it has other steps than ``shown``, or a stimulus has no bin.

    Examples
    --------
    >>> output = torch.arange(6).reshape(2, 3, 1)
    >>> into_bins("rnn", output, 1, torch.tensor([1, 3]))[0].flatten().tolist()
    [0, 3, 4, 5]
    """
    if isinstance(output, PackedSequence):
        output, shown = pad_packed_sequence(output, batch_first=True)
        time_dim = 1
    _check_has(layer, output, time_dim)
    if time_dim is None:
        return output, np.ones(len(output), np.int64)
    steps = output.movedim(time_dim, 1)
    n_stimuli, n_steps = steps.shape[:2]
    if shown is None:
        return steps.flatten(0, 1), np.full(n_stimuli, n_steps, np.int64)
    mask = _mask(layer, shown.to(steps.device), n_stimuli, n_steps)
    of_stimuli = mask.sum(1).cpu().numpy()
    if n_steps and not may_be_empty and not of_stimuli.all():
        raise ValueError(
            f"stimulus {int(of_stimuli.argmin())} of the batch has no step that is shown: leave it out"
        )
    return steps[mask], of_stimuli


@dataclass(frozen=True)
class Bins:
    """Bins of the stimuli in one layer, to compare layers.

    Parameters
    ----------
    n_steps : int
        Steps of a stimulus, with padding.
    of_stimuli : tuple of int
        Bins of each stimulus.
    """

    n_steps: int
    of_stimuli: tuple[int, ...]

    @property
    def n_stimuli(self) -> int:
        """Number of stimuli."""
        return len(self.of_stimuli)

    def __str__(self) -> str:
        return counted(np.array(self.of_stimuli))


def counted(n_steps: np.ndarray) -> str:
    """Return in words how many stimuli there are, and of how many steps.

    Examples
    --------
    >>> counted(np.array([3, 1, 2]))
    '3 stimuli of 1 to 3 steps'
    """
    lengths = np.unique(n_steps).tolist()
    return f"{len(n_steps)} stimuli of {' to '.join(map(str, lengths[:: max(1, len(lengths) - 1)]))} steps"


def bins_of(layer: str, output: Any, time_dim: int | None, shown: torch.Tensor | None) -> Bins:
    """Return the bins that :func:`into_bins` would give, without what is in them.

    Raises
    ------
    ValueError
        As :func:`into_bins`.

    Examples
    --------
    >>> print(bins_of("rnn", torch.zeros(2, 3, 1), 1, torch.tensor([1, 3])))
    2 stimuli of 1 to 3 steps
    """
    if isinstance(output, PackedSequence):
        n_steps = len(output.batch_sizes)
        lengths = pad_packed_sequence(output._replace(data=output.data[:, :0]))[1]
        return Bins(n_steps, tuple(lengths.tolist()))
    _check_has(layer, output, time_dim)
    if time_dim is None:
        return Bins(1, (1,) * len(output))
    n_stimuli, n_steps = output.movedim(time_dim, 1).shape[:2]
    if shown is None:
        return Bins(n_steps, (n_steps,) * n_stimuli)
    mask = _mask(layer, shown, n_stimuli, n_steps)
    return Bins(n_steps, tuple(mask.sum(1).tolist()))


def _check_has(layer: str, output: torch.Tensor, time_dim: int | None) -> None:
    if output.ndim == 0:
        raise ValueError(f"layer {layer!r} gives one number for the whole batch: choose another layer")
    if time_dim is not None and (not -output.ndim <= time_dim < output.ndim or output.ndim < 2):
        raise ValueError(
            f"time_dim={time_dim}, but layer {layer!r} gives an output of shape {tuple(output.shape)}: "
            "give a dimension of it, or choose other layers"
        )


def _mask(layer: str, shown: torch.Tensor, n_stimuli: int, n_steps: int) -> torch.Tensor:
    if shown.ndim == 1 and len(shown) == n_stimuli:
        too_long = (shown > n_steps) | (shown < 0)
        if too_long.any():
            i = int(too_long.int().argmax())
            raise ValueError(
                f"stimulus {i} of the batch has a length of {int(shown[i])}, but layer {layer!r} gives "
                f"{n_steps} steps: give lengths of at most that many"
            )
        mask = torch.arange(n_steps, device=shown.device) < shown[:, None]
    elif shown.shape == (n_stimuli, n_steps):
        mask = shown.bool()
    else:
        raise ValueError(
            f"lengths or mask of shape {tuple(shown.shape)}, but layer {layer!r} gives {n_stimuli} stimuli "
            f"of {n_steps} steps: give ({n_stimuli},) lengths or a mask ({n_stimuli}, {n_steps}), or name "
            "as layers= only layers that have these steps"
        )
    return mask

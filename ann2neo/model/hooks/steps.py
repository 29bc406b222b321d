"""Time within a stimulus: which steps of a layer's output are bins."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence


def into_bins(
    layer: str, output: Any, time_dim: int | None, shown: torch.Tensor | None
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

    Returns
    -------
    activation : torch.Tensor
        (n_bins, ...).
    n_steps : numpy.ndarray
        int64 (n_stimuli,).

    Raises
    ------
    ValueError
        If there is no such dimension, or it has other steps than ``shown``.

    Examples
    --------
    >>> output = torch.arange(6).reshape(2, 3, 1)
    >>> into_bins("rnn", output, 1, torch.tensor([1, 3]))[0].flatten().tolist()
    [0, 3, 4, 5]
    """
    if isinstance(output, PackedSequence):
        output, shown = pad_packed_sequence(output, batch_first=True)
        time_dim = 1
    if output.ndim == 0:
        raise ValueError(f"layer {layer!r} gives one number for the whole batch: choose another layer")
    if time_dim is None:
        return output, np.ones(len(output), np.int64)
    if not -output.ndim <= time_dim < output.ndim or output.ndim < 2:
        raise ValueError(
            f"time_dim={time_dim}, but layer {layer!r} gives an output of shape {tuple(output.shape)}: "
            "give a dimension of it, or choose other layers"
        )
    steps = output.movedim(time_dim, 1)
    n_stimuli, n_steps = steps.shape[:2]
    if shown is None:
        return steps.flatten(0, 1), np.full(n_stimuli, n_steps, np.int64)
    mask = _mask(layer, shown.to(steps.device), n_stimuli, n_steps)
    return steps[mask], mask.sum(1).cpu().numpy()


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
    empty = ~mask.any(1)
    if n_steps and empty.any():
        raise ValueError(
            f"stimulus {int(empty.int().argmax())} of the batch has no step that is shown: leave it out"
        )
    return mask

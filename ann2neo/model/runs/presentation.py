"""Stimuli shown to a model with hooks, batch after batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from ..hooks.hooks import Hooks
from .batch import Batch
from .batches import batches, number_of_stimuli
from .states import resets_of


def show(
    model: nn.Module,
    hooks: Hooks,
    stimuli: Any,
    device: torch.device,
    *,
    batch_size: int,
    before: Callable[[Batch], None] | None = None,
    after: Callable[[Batch, slice], None] | None = None,
    lengths: Any = None,
    n_done: int = 0,
    progress: str = "",
) -> None:
    """Show all stimuli to a model, with its hooks on.

    Parameters
    ----------
    model : torch.nn.Module
        It is on the device.
    hooks : Hooks
        Its hooks.
    stimuli, batch_size
        As for :func:`ann2neo.record`.
    device : torch.device
        Where batches are sent.
    before : callable, optional
        Called before each batch, with it.
    after : callable, optional
        Called after each batch, with it and with the places of its stimuli among all that were shown.
    lengths : array, optional
        int (n_stimuli,), steps of each stimulus that are not padding.
    n_done : int
        Leave out so many batches at the beginning.
    progress : str
        Name of the progress bar; none without.

    Raises
    ------
    ValueError, TypeError
        If the stimuli are not what they may be, or the layers see another number of them.

    Examples
    --------
    >>> from ann2neo.model.hooks.selection import Selection
    >>> relu = nn.ReLU()
    >>> hooks = Hooks(relu, Selection(), lambda *_: None, lambda *_: None)
    >>> def after(batch, shown):
    ...     print(len(batch), shown)
    >>> show(relu, hooks, torch.zeros(5, 2), torch.device("cpu"), batch_size=3, after=after)
    3 slice(0, 3, None)
    2 slice(3, 5, None)
    """
    bar = tqdm(total=number_of_stimuli(stimuli), desc=progress, unit=" stimuli", disable=not progress)
    resets = resets_of(model)
    with hooks, bar:
        for i, batch in enumerate(batches(stimuli, batch_size, model, lengths=lengths)):
            if i >= n_done:
                n_before = hooks.n_stimuli
                for reset in resets:
                    reset()
                if before is not None:
                    before(batch)
                _present(model, hooks, batch, device)
                if after is not None:
                    after(batch, slice(n_before, hooks.n_stimuli))
            bar.update(len(batch))


def _present(model: nn.Module, hooks: Hooks, batch: Batch, device: torch.device) -> None:
    """Show one batch, and check that the layers saw its stimuli."""
    if batch.shown is not None:
        hooks.announce(batch.shown)
    in_any_order = hooks.selection.has_steps_first and batch.n_stimuli is None
    hooks.expect(frozenset(batch.shape[:2]) if in_any_order else frozenset([len(batch)]))
    try:
        batch.show_to(model, device)
    except RuntimeError as error:
        if not any(parameter.is_meta for parameter in model.parameters()):
            raise
        raise ValueError(
            f"parameters of {type(model).__name__} are on the meta device, where tensors hold no numbers: "
            "load its weights onto a real device first, say with model.to_empty(device='cpu') and "
            f"load_state_dict ({error})"
        ) from error

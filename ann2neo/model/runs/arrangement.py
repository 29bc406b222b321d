"""Which dimension of an array is the stimuli, where layers have their steps first."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import nn

from ..hooks.hooks import Hooks
from ..hooks.selection import Selection
from .batches import Arranged, batches


def arranged(model: nn.Module, stimuli: Any, selection: Selection, where: torch.device) -> Any:
    """Find out which dimension of an array is the stimuli; return other stimuli as they are.

    With ``time_dim=0`` layers give (steps, stimuli, …). The model may take its input like this, too, or turn
    it round itself. A copy of the model is shown a few rows of the input. If as many stimuli come out as
    the second dimension has, that one is the stimuli; otherwise the first is. A model that needs all steps
    cannot take a few rows: then a few columns are shown, and have to come out.

    Parameters
    ----------
    model : torch.nn.Module
        It is in evaluation mode and on the device.
    stimuli
        What :func:`ann2neo.record` takes.
    selection : Selection
        Which layers, and what is time.
    where : torch.device
        The device.

    Returns
    -------
    Arranged, or the stimuli as they were given

    Examples
    --------
    >>> gru, steps_first = nn.GRU(2, 3), torch.zeros(7, 4, 2)
    >>> arranged(gru, steps_first, Selection("GRU", time_dim=0), torch.device("cpu")).dim
    1
    """
    is_whole = isinstance(stimuli, Mapping | torch.Tensor | np.ndarray)
    if not is_whole or not selection.has_steps_first:
        return stimuli
    by_rows, by_columns = Arranged(stimuli, 0), Arranged(stimuli, 1)
    shape = next(batches(by_rows, 1, model)).shape  # raises where there are no stimuli
    if len(shape) < 2 or (by_rows.n_stimuli, by_columns.n_stimuli) == (1, 1):
        return by_rows
    n_rows, n_columns = by_rows.n_stimuli, by_columns.n_stimuli
    try:
        few = next(n for n in (2, 1) if n <= n_rows and n != n_columns)
        n_seen = _number_seen(model, by_rows.part(0, few), selection, where)
        return by_columns if n_seen == n_columns else by_rows
    except Exception:
        # a model that needs all steps
        few = next(n for n in (2, 1) if n <= n_columns and n != n_rows)
        if _number_seen(model, by_columns.part(0, few), selection, where) != few:
            raise
        return by_columns


def _number_seen(model: nn.Module, some: Any, selection: Selection, where: torch.device) -> int:
    """Return how many stimuli the layers see in a part of the input."""
    copy = deepcopy(model)  # neurons may keep a state
    hooks = Hooks(copy, selection, lambda *_: None, lambda *_: None)
    accelerators = [where.index or 0] if where.type == "cuda" else []
    with warnings.catch_warnings(), torch.random.fork_rng(devices=accelerators), hooks:
        warnings.simplefilter("ignore")
        next(batches(some, Arranged(some, 0).n_stimuli, copy)).show_to(copy, where)
    return hooks.n_stimuli

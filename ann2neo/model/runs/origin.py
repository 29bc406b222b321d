"""Where a recording or a summary came from, as it says in its annotations."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from ...recording.annotations import as_json
from ..hooks.names import unwrapped
from ..hooks.selection import Selection

VERSIONS = ("ann2neo", "torch", "neo", "elephant")
"""Packages whose versions are kept."""

OF_THE_MOMENT = ("recorded_at", *(f"{name}_version" for name in VERSIONS))
"""Annotations that say when and with which software, and not what was run."""


def origin(model: nn.Module, selection: Selection, more: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the annotations that say where a recording of a model came from.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    selection : Selection
        What was asked for: a rule is kept as the rule, not as the numbers it gave.
    more : mapping, optional
        Others, which win over these.

    Raises
    ------
    ValueError
        If JSON cannot hold one of them.
    TypeError
        If the model is no live module.

    Examples
    --------
    >>> told = origin(nn.ReLU(), Selection(threshold=0.5, seed=3), {"dataset": "mine"})
    >>> {name: value for name, value in told.items() if name not in OF_THE_MOMENT}
    {'model': 'ReLU', 'threshold': 0.5, 'seed': 3, 'dataset': 'mine'}
    """
    threshold = selection.threshold
    annotations = {
        "model": type(unwrapped(model)).__name__,
        "threshold": threshold if isinstance(threshold, int | float) else repr(threshold),
        "seed": selection.seed,
        "recorded_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        **{f"{name}_version": version(name) for name in VERSIONS},
        **(more or {}),
    }
    as_json(annotations)  # what cannot be kept is refused before the work is done
    return annotations


def parameters_sha256(model: nn.Module) -> str | None:
    """Return a hash of a model's state: of names, types, shapes and numbers of its parameters and buffers.

    None, if some are on the meta device, where tensors hold no numbers, or are of a subclass of tensors
    (as DTensor is), whose numbers may be elsewhere or packed.

    Examples
    --------
    >>> one, two = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
    >>> parameters_sha256(one) == parameters_sha256(two)
    True
    >>> _ = two.running_mean.add_(1e-6)
    >>> parameters_sha256(one) == parameters_sha256(two)
    False
    """
    digest = hashlib.sha256()
    for name, value in model.state_dict().items():
        # quantized layers keep weight and bias as a pair
        for tensor in value if isinstance(value, tuple) else (value,):
            if not isinstance(tensor, torch.Tensor):
                continue
            if tensor.is_meta or type(tensor) not in (torch.Tensor, nn.Parameter, nn.Buffer):
                return None
            numbers = tensor.detach().cpu()
            numbers = (numbers.dequantize() if numbers.is_quantized else numbers).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(numbers.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

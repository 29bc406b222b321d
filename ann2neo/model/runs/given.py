"""What is given as a model and as a device: checked before anything runs."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn


def check_model(model: Any) -> None:
    """Raise TypeError if this is not a model, with what to give instead.

    Examples
    --------
    >>> check_model(nn.ReLU)
    Traceback (most recent call last):
    ...
    TypeError: the model is the class ReLU: make a model of it, ReLU(...)
    """
    if isinstance(model, nn.Module):
        return
    kind = type(model).__name__
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise TypeError(f"the model is the class {model.__name__}: make a model of it, {model.__name__}(...)")
    if isinstance(model, str | os.PathLike):
        raise TypeError(
            f"the model is {str(model)!r}, a {kind}: load it first, with torch.load or load_state_dict for "
            "example"
        )
    if isinstance(model, dict):
        raise TypeError(
            "the model is a dict, a state_dict perhaps: make the model first, then model.load_state_dict(...)"
        )
    swapped = isinstance(model, torch.Tensor) or hasattr(model, "__array__") or hasattr(model, "__iter__")
    more = ": the model comes first and the stimuli second" if swapped else ": give a torch.nn.Module"
    raise TypeError(f"the model is a {kind}{more}")


def device_named(device: Any) -> torch.device:
    """Return a device by its name.

    Examples
    --------
    >>> device_named("gpu")
    Traceback (most recent call last):
    ...
    ValueError: device='gpu': torch has no such device: give cpu, cuda, cuda:1 or mps for example
    """
    try:
        return torch.device(device)
    except RuntimeError:
        raise ValueError(
            f"device={device!r}: torch has no such device: give cpu, cuda, cuda:1 or mps for example"
        ) from None

"""A model in evaluation mode, and then as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ..hooks.names import check_model
from .states import reset_states, states_set_aside


@contextmanager
def evaluation(model: nn.Module, device: Any = None) -> Iterator[torch.device]:
    """Run a model in evaluation mode and without gradients; then restore everything.

    It begins with states as its library resets them, where that is known: see :func:`.reset_states`.
    Afterwards, also after an exception, every module has its own training flag again, and holds what it held
    before: see :func:`.states_set_aside`. The model is on its own device, and torch's random state is as
    before.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed in place, and restored.
    device : str or torch.device, optional
        Where to run; by default where the model's parameters are.

    Yields
    ------
    torch.device
        Where the model is.

    Raises
    ------
    TypeError
        If it is no live module: see :func:`.check_model`.

    Examples
    --------
    >>> model = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout())
    >>> _ = model[0].eval()  # frozen, in a model that is trained
    >>> with evaluation(model):
    ...     model.training, torch.is_grad_enabled()
    (False, False)
    >>> model.training, model[0].training, model[1].training
    (True, False, True)
    """
    check_model(model)
    training = {module: module.training for module in model.modules()}
    tensor = next((t for ts in (model.parameters(), model.buffers()) for t in ts), None)
    # what is on meta is loaded as it runs, or nothing runs
    home = torch.device("cpu") if tensor is None or tensor.is_meta else tensor.device
    where = home if device is None else device_named(device)
    accelerators = [d.index or 0 for d in (home, where) if d.type == "cuda"]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=set(accelerators)), states_set_aside(model):
            model.eval()
            reset_states(model)
            if where != home:
                model.to(where)
            yield where
    finally:
        for module, flag in training.items():
            module.training = flag
        if where != home:
            model.to(home)


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

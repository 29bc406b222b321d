"""A model in evaluation mode, shown batches of stimuli, and then as it was before."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from .batches import Batch
from .hooks.hooks import Hooks


@contextmanager
def evaluation(model: nn.Module, device: Any) -> Iterator[torch.device]:
    """Run a model in evaluation mode, without gradients, on a device; then restore everything."""
    training = {module: module.training for module in model.modules()}
    tensor = next((t for ts in (model.parameters(), model.buffers()) for t in ts), None)
    # what is on meta is loaded as it runs, or nothing runs
    home = torch.device("cpu") if tensor is None or tensor.is_meta else tensor.device
    where = home if device is None else torch.device(device)
    accelerators = [d.index or 0 for d in (home, where) if d.type == "cuda"]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=set(accelerators)):
            model.eval()
            if where != home:
                model.to(where)
            yield where
    finally:
        for module, flag in training.items():
            module.training = flag
        if where != home:
            model.to(home)


def present(model: nn.Module, hooks: Hooks, batch: Batch, device: Any) -> None:
    """Show a batch to a model with hooks."""
    if batch.shown is not None:
        hooks.announce(batch.shown)
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


def check_shown(n_recorded: int, batch: Batch, time_dim: Any) -> None:
    """Raise if the layers saw another number of stimuli than the model was given."""
    steps_first = 0 in (time_dim.values() if isinstance(time_dim, Mapping) else [time_dim])
    given = {len(batch), *(batch.shape[:2] if steps_first else ())}
    if n_recorded not in given:
        raise ValueError(
            f"the layers gave {n_recorded} activations for a batch of {len(batch)} stimuli: record layers "
            "whose first dimension is the batch, name the dimension that is time as time_dim=, or run your "
            "own loop with ann2neo.Probe"
        )


def parameters_sha256(model: nn.Module) -> str | None:
    """Return a hash of a model's state: of names, types, shapes and numbers of its parameters and buffers.

    None, if some are on the meta device, where tensors hold no numbers.

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
            if tensor.is_meta:
                return None
            numbers = tensor.detach().cpu()
            numbers = (numbers.dequantize() if numbers.is_quantized else numbers).contiguous()
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(numbers.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()

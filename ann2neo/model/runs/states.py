"""What modules hold between passes: set aside while a model is shown stimuli, and reset between batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..hooks.names import is_of

RESETS = {
    "spikingjelly.MemoryModule": "reset",
    "snntorch.SpikingNeuron": "reset_mem",
}
"""Methods by which other libraries' modules forget what they hold."""

OF_MODULES = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def resets_of(model: nn.Module) -> list[Callable[[], Any]]:
    """Return what resets the modules of spikingjelly and snnTorch in a model: these libraries' own methods.

    Modules of other libraries are left as they are. Those of norse hold nothing, their states are arguments.
    """
    found = [
        getattr(module, method, None)
        for module in model.modules()
        for kind, method in RESETS.items()
        if is_of(module, kind)
    ]
    return [reset for reset in found if callable(reset)]


def reset_states(model: nn.Module) -> None:
    """Reset what the modules of spikingjelly and snnTorch hold: see :func:`resets_of`."""
    for reset in resets_of(model):
        reset()


@contextmanager
def states_set_aside(model: nn.Module) -> Iterator[None]:
    """Let the modules of a model work on copies of what they hold, and then give back the originals.

    What a module holds are its buffers, and its attributes. Afterwards it holds the very same objects as
    before, also if the model was moved or an exception ended the block. Tensors, lists, tuples and dicts are
    worked on as copies; what is changed within other objects, as in a deque, stays changed.

    Examples
    --------
    >>> norm = nn.BatchNorm1d(2)
    >>> before = norm.running_mean
    >>> with states_set_aside(norm):
    ...     _ = norm(torch.rand(5, 2))
    >>> norm.running_mean is before, before.tolist()
    (True, [0.0, 0.0])
    """
    copies: dict[int, Any] = {}
    modules = [module for module in model.modules() if not isinstance(module, torch.jit.ScriptModule)]
    held = [(module, dict(module._buffers), _attributes(module)) for module in modules]
    for module, buffers, attributes in held:
        module._buffers.update({name: _copy(value, copies) for name, value in buffers.items()})
        vars(module).update({name: _copy(value, copies) for name, value in attributes.items()})
    try:
        yield
    finally:
        for module, buffers, attributes in held:
            module._buffers.clear()
            module._buffers.update(buffers)
            for name, now in _attributes(module).items():
                if name not in attributes and _may_be_state(now):
                    del vars(module)[name]
            vars(module).update(attributes)  # numbers, too: a place in a buffer belongs to the buffer


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in OF_MODULES}


def _may_be_state(value: Any) -> bool:
    return isinstance(value, torch.Tensor | list | tuple | dict)


def _copy(value: Any, copies: dict[int, Any]) -> Any:
    """Copy a tensor, or a list, tuple or dict with all tensors in it; what was copied before is not again."""
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, torch.Tensor):
        # the weights of quantized layers are integers, and large
        is_quantized = value.is_quantized or value.dtype in (torch.int8, torch.uint8)
        is_weight = isinstance(value, nn.Parameter) or is_lazy(value) or is_quantized
        copies[id(value)] = value if is_weight else _copy_of_tensor(value, copies)
    elif type(value) is list and not any(isinstance(each, nn.Parameter) for each in value):
        as_list: list[Any] = []
        copies[id(value)] = as_list  # before it is filled: it may hold itself
        as_list.extend(_copy(each, copies) for each in value)
    elif type(value) is dict:
        as_dict: dict[Any, Any] = {}
        copies[id(value)] = as_dict
        as_dict.update({key: _copy(each, copies) for key, each in value.items()})
    elif isinstance(value, tuple) and any(_may_be_state(each) for each in value):
        parts = [_copy(each, copies) for each in value]
        copies[id(value)] = type(value)._make(parts) if hasattr(value, "_make") else tuple(parts)
    return copies.get(id(value), value)


def _copy_of_tensor(tensor: torch.Tensor, copies: dict[int, Any]) -> torch.Tensor:
    """Copy a tensor; views of one memory stay views of one memory."""
    if type(tensor) is not torch.Tensor or tensor.layout != torch.strided or tensor.device.type == "meta":
        return tensor.detach().clone()
    storage = tensor.untyped_storage()
    key = -storage._cdata  # no object has such an id
    if key not in copies:
        copies[key] = storage.clone()
    made = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return made.set_(copies[key], tensor.storage_offset(), tensor.shape, tensor.stride())

"""Tensors whose numbers can be compared with a threshold, one by one."""

from __future__ import annotations

import torch


class NotRecordable(TypeError):
    """What a layer gives is no tensor of real numbers: another layer may be recorded."""


def check_is_plain(tensor: torch.Tensor, layer: str) -> None:
    """Check that an activation is a tensor of real numbers, which lie in its memory.

    Raises
    ------
    TypeError
        If it is complex or nested, or comes from within ``torch.func.vmap`` and the like.
    ValueError
        If it is on the meta device, where it holds no numbers.

    Examples
    --------
    >>> check_is_plain(torch.zeros(2, dtype=torch.complex64), "fft")
    Traceback (most recent call last):
      ...
    ann2neo.model.hooks.plain.NotRecordable: layer 'fft' gives complex numbers, which ...
    """
    if torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        raise TypeError(
            f"layer {layer!r} runs within torch.func (vmap, grad, …), where a tensor stands for many or for "
            "another one: leave the probe for that call, and show the model the whole batch itself"
        )
    if tensor.is_nested:
        raise TypeError(
            f"layer {layer!r} gives a nested tensor, but ann2neo records dense ones. Give the model padded "
            "stimuli (torch.nested.to_padded_tensor) with time_dim= and lengths=, or a packed sequence"
        )
    if tensor.is_complex():
        raise NotRecordable(
            f"layer {layer!r} gives complex numbers, which cannot exceed a threshold: choose another layer"
        )
    if tensor.device.type == "meta":
        raise ValueError(
            f"layer {layer!r} is on the meta device, where tensors hold no numbers: load the model's weights "
            "and move it to a real device first, say with model.to_empty(device='cpu') and load_state_dict"
        )

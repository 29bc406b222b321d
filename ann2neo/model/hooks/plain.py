"""Tensors whose numbers can be compared with a threshold, one by one."""

from __future__ import annotations

import torch


def check_is_plain(tensor: torch.Tensor, layer: str) -> None:
    """Check that an activation is a dense tensor of real numbers, which lie in its memory.

    Raises
    ------
    TypeError
        If it is complex, sparse or nested, or comes from within ``torch.func.vmap`` and the like.
    ValueError
        If it is on the meta device, where it holds no numbers.

    Examples
    --------
    >>> check_is_plain(torch.eye(2).to_sparse(), "relu")
    Traceback (most recent call last):
      ...
    TypeError: layer 'relu' gives a sparse tensor (torch.sparse_coo), but ann2neo records dense ones: ...
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
    if tensor.layout != torch.strided:
        raise TypeError(
            f"layer {layer!r} gives a sparse tensor ({tensor.layout}), but ann2neo records dense ones: "
            "record the layer before it, or wrap it in a module that returns its output.to_dense()"
        )
    if tensor.is_complex():
        raise TypeError(
            f"layer {layer!r} gives complex numbers, which cannot exceed a threshold: choose another layer"
        )
    if tensor.device.type == "meta":
        raise ValueError(
            f"layer {layer!r} is on the meta device, where tensors hold no numbers: load the model's weights "
            "and move it to a real device first, say with model.to_empty(device='cpu') and load_state_dict"
        )

"""Tensors whose numbers can be compared with a threshold, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence


class NotRecordable(TypeError):
    """What a layer gives is no tensor of real numbers: another layer may be recorded."""


def tensor_of(output: Any, layer: str) -> torch.Tensor | PackedSequence:
    """Return the activation in the output of a module: a tensor, or the first tensor of a tuple or dict.

    For an LSTM this is its output sequence (packed, if its input was), for an attention layer its output, for
    a spiking neuron its spikes, for a Hugging Face model its last hidden state.

    Raises
    ------
    TypeError
        If there is no tensor, its numbers are not real, it is nested, or torch.func wraps it.
    ValueError
        If the tensor is on the meta device, where it holds no numbers.

    Examples
    --------
    >>> output, state = torch.ones(2), torch.zeros(1)
    >>> tensor_of((output, state), "lstm")
    tensor([1., 1.])
    """
    found = output
    if isinstance(output, Mapping | Sequence) and not isinstance(output, PackedSequence):
        parts = output.values() if isinstance(output, Mapping) else output
        found = next((part for part in parts if isinstance(part, torch.Tensor | PackedSequence)), output)
    if isinstance(found, PackedSequence):
        return found
    if not isinstance(found, torch.Tensor):
        raise NotRecordable(
            f"layer {layer!r} gives a {type(output).__name__} without a tensor in its first level: "
            "choose a layer inside it, or wrap it in a module that returns the tensor to record"
        )
    check_is_plain(found, layer)
    found = found.detach()
    if found.layout != torch.strided:
        found = found.to_dense()
    if found.is_quantized:
        return found.dequantize()
    wide_integers = not found.is_floating_point() and found.element_size() > 2
    return found.double() if wide_integers else found  # float32 does not hold them all


def tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among values, and in the lists, tuples and dicts among these.

    Examples
    --------
    >>> [len(each) for each in tensors_in((torch.ones(1), 2, [torch.ones(3)], {"x": torch.ones(4)}))]
    [1, 3, 4]
    """
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)
        elif isinstance(value, Mapping):
            yield from tensors_in(value.values())


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
            "another one: leave the probe for that call, and show the model the whole batch itself; if the "
            "model calls torch.func, name as layers= those that are outside of it"
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

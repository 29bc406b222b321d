"""Layers whose units can be removed: which weights an activation belongs to."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from ...model.hooks.plain import tensors_in
from ...model.hooks.watching.functions import ACTIVATIONS
from ...model.runs.evaluation import evaluation
from .flow import Flow, Value

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

FOLLOWED: tuple[type[nn.Module], ...] = (*ACTIVATIONS, *WEIGHTED, *NORMALIZING)


@dataclass(frozen=True)
class Prunable:
    """A layer whose units can be removed: rows of a weight, maybe a normalization, and an activation.

    Parameters
    ----------
    layer, module : str
        Names of the activation and of the module whose output it takes.
    norm : str, optional
        Name of the batch normalization between them.
    n_units : int
        Rows of the weight: neurons of a linear layer, feature maps of a convolution.
    """

    layer: str
    module: str
    norm: str | None
    n_units: int


def prunable(model: nn.Module, example: torch.Tensor) -> list[Prunable]:
    """Return the layers whose units can be removed, in the order they are run.

    These are activation modules (``nn.ReLU`` …) whose input comes straight from a linear layer or a
    convolution, or from a batch normalization after it. The model calls each of these modules once. A unit
    cannot be removed alone if it is added to another before it fires (as at the end of a residual block), if
    it is also read before it fires, or if its weights are parametrized. Two kinds of layers are never
    offered, and are told by what becomes of them in a pass, not by their names: outputs of the model, also
    if they are pooled or normalized first (classes), and gates, whose units multiply something else, as in a
    squeeze-and-excitation block. A gate without one of its units lets half through, or nothing.

    Parameters
    ----------
    model : torch.nn.Module
        It is run in evaluation mode.
    example : torch.Tensor
        One stimulus or more.

    Returns
    -------
    list of Prunable

    Raises
    ------
    TypeError
        If the example is no tensor.

    Examples
    --------
    >>> from ann2neo.study.networks import network
    >>> found = prunable(network("mlp", (1, 8, 8), 10), torch.zeros(1, 1, 8, 8))
    >>> [(each.layer, each.module, each.n_units) for each in found]
    [('relu1', 'linear1', 256), ('relu2', 'linear2', 256), ('relu3', 'linear3', 128)]
    """
    check_is_tensor("example", example)
    # What made a tensor, and how often it had been written to. Tensors are held: otherwise a later one could
    # get the id of an earlier one. If a tensor was written to since, something else had a part in it.
    made: dict[int, tuple[torch.Tensor, int, tuple[str, str | None]]] = {}
    found: list[Prunable] = []
    calls: Counter[str] = Counter()
    flow, weighed, fired = Flow(example), dict[str, Value](), dict[str, Value]()

    def maker(args: tuple[Any, ...]) -> tuple[str, str | None] | None:
        tensor, version, by = made.get(id(args[0]) if args else 0, (None, 0, None))
        return by if tensor is not None and tensor._version == version else None

    def normalized(args: tuple[Any, ...]) -> str | None:
        of = maker(args)
        # over time, a linear layer has its neurons last, and a normalization its features second
        if of is None or (args[0].ndim > 2 and isinstance(model.get_submodule(of[0]), nn.Linear)):
            return None
        return of[0]

    def before(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        calls[name] += 1
        by = maker(args)
        if isinstance(module, ACTIVATIONS) and by is not None:
            found.append(Prunable(name, *by, len(weight_of(model, by[0]))))

    def after(name: str, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
        by: tuple[str, str | None] | None = None
        (fired if isinstance(module, ACTIVATIONS) else weighed)[name] = flow.value(output)
        if isinstance(module, WEIGHTED) and not is_parametrized(module):
            by = name, None
        elif isinstance(module, NORMALIZING) and module.affine and (of := normalized(args)) is not None:
            by = of, name
        if by is not None:
            made[id(output)] = output, output._version, by

    with evaluation(model, None), flow, ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, FOLLOWED):
                hooks.callback(module.register_forward_pre_hook(partial(before, name)).remove)
                hooks.callback(module.register_forward_hook(partial(after, name)).remove)
        outputs = list(tensors_in([model(example)]))
    readers = Counter(each.module for each in found)
    return [
        each
        for each in found
        if all(calls[name] == 1 for name in (each.layer, each.module, each.norm) if name is not None)
        and readers[each.module] == 1
        and flow.is_free(fired[each.layer], outputs)
        and not flow.reaches(weighed[each.module], outputs, past=fired[each.layer])
    ]


def check_is_tensor(argument: str, given: Any) -> None:
    """Raise TypeError if what a model is shown is not one tensor."""
    if not isinstance(given, torch.Tensor):
        raise TypeError(
            f"{argument} is a {type(given).__name__}: give one tensor (n_stimuli, …), the model's only "
            "argument. Wrap a model that takes its arguments by name, or several, in a module that takes one"
        )


def weight_of(model: nn.Module, module: str) -> torch.Tensor:
    """Return the weight of a module, by its name."""
    # a parameter, or, of a pruned module, the product of a parameter and its mask
    weight = model.get_submodule(module).weight
    assert isinstance(weight, torch.Tensor)
    return weight

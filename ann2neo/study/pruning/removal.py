"""Units removed from a model, and biases that make up for the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from ...model.runs.evaluation import evaluation
from ...model.summarizer import summarize
from .scores import SCORES, importance, rates_of
from .units import NORMALIZING, WEIGHTED, Prunable, check_is_tensor, prunable, weight_of

if TYPE_CHECKING:
    import pandas as pd


SILENT = "silent"

AT_ONCE = 500
"""Stimuli in a forward pass."""


def prune(
    model: nn.Module,
    stimuli: torch.Tensor,
    amount: float | str,
    score: str = "rate",
    *,
    fold: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Remove the units of lowest score from each layer, in place, and fold their mean output into biases.

    A removed unit is masked by :func:`torch.nn.utils.prune.custom_from_mask`: its weights, its bias and its
    normalization are 0, so that a ReLU unit is silent for good. The mean of what it gave the next layers goes
    into their biases,

    .. math:: b \leftarrow b + \langle y \rangle_\mathrm{before} - \langle y \rangle_\mathrm{after}

    where ⟨y⟩ is the mean output of a row or feature map over the stimuli, layer after layer. Removing ReLU
    units that were silent for all stimuli loses nothing: for these stimuli no output changes.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed. :func:`torch.nn.utils.prune.remove` makes the masks permanent.
    stimuli : torch.Tensor
        (n_stimuli, …). Units are scored on them, and biases are right for them. Give stimuli that the network
        may see: training images, say.
    amount : float or "silent"
        Fraction of the units of each layer that are removed, from 0 to less than 1, units removed before
        included; at least one unit stays. ``"silent"``: all units that never spike.
    score : str
        One of :data:`.SCORES`; ``"silent"`` needs none. Among units of equal score, chance decides which go.
    fold : bool
        Whether mean outputs are folded into biases; if not, biases stay as they are.
    seed : int
        For ``"random"``, and for ties: the same seed removes the same units.

    Returns
    -------
    pandas.DataFrame
        One row a layer: ``layer``, ``module``, ``n_units``, ``n_silent`` (before), ``n_removed``, and
        ``n_tied``, how many units have the highest score of those removed, if some of them stay: among these,
        chance decided.

    Raises
    ------
    ValueError
        If amount or score are not among these, or the model has no layer whose units can be removed: see
        :func:`.prunable`.
    TypeError
        If the stimuli are not one tensor.

    Notes
    -----
    Convolutions see zeros beyond the border of an image. So the mean is right over a feature map, but not at
    every place. Some activations, such as GELU, are not 0 where their input is below 0: there, removing
    "silent" units loses a little.

    References
    ----------
    H. Hu et al. (2016), Network trimming: a data-driven neuron pruning approach towards efficient deep
    architectures, arXiv 1607.03250 (units that are often zero). M. Nagel et al. (2019), Data-free
    quantization through weight equalization and bias correction, ICCV (the correction of biases).

    Examples
    --------
    >>> from ann2neo.study.networks import network
    >>> model, stimuli = network("mlp", (1, 8, 8), 10), torch.rand(300, 1, 8, 8)
    >>> prune(model, stimuli, 0.5)[["layer", "n_units", "n_removed"]]
       layer  n_units  n_removed
    0  relu1      256        128
    1  relu2      256        128
    2  relu3      128         64
    """
    import pandas as pd

    if amount != SILENT and not (isinstance(amount, Real) and 0 <= amount < 1):
        raise ValueError(
            f"amount={amount!r}: give a fraction of the units, from 0 to less than 1, or 'silent'"
        )
    if score not in SCORES:
        raise ValueError(f"score={score!r}: give one of {', '.join(SCORES)}")
    check_is_tensor("stimuli", stimuli)
    layers = prunable(model, stimuli[:1])
    if not layers:
        raise ValueError(
            "no layer of this model can lose units: give a model with an activation module (nn.ReLU, …) "
            "whose input comes straight from a linear layer or a convolution, or from a batch normalization "
            "after it, and whose output goes to another such layer. Outputs of the model and gates keep all "
            "their units"
        )
    names = list(dict.fromkeys(each.layer for each in layers))
    summary = summarize(model, stimuli, names, batch_size=AT_ONCE, n_correlated=0)
    scores = importance(model, summary, layers, score, seed)
    affine = _affine(model, stimuli[:1])
    before = _mean_outputs(model, affine, stimuli) if fold else {}
    rows, generator = [], torch.Generator().manual_seed(seed)
    for each in layers:
        silent = torch.from_numpy((rates_of(model, summary, each) == 0).all(axis=1))
        removed, n_tied = silent, 0
        if amount != SILENT:
            removed, n_tied = _lowest(model, each, scores[each.module], float(amount), generator)
        for name in (each.module, each.norm):
            if name is not None:
                _mask(model.get_submodule(name), removed)
        rows.append(
            {
                "layer": each.layer,
                "module": each.module,
                "n_units": each.n_units,
                "n_silent": int(silent.sum()),
                "n_removed": int(removed.sum()),
                "n_tied": n_tied,
            }
        )
    for name, mean in before.items():
        _add_to_bias(model.get_submodule(name), mean - _mean_outputs(model, [name], stimuli)[name])
    return pd.DataFrame(rows)


def _lowest(
    model: nn.Module, each: Prunable, score: torch.Tensor, amount: float, generator: torch.Generator
) -> tuple[torch.Tensor, int]:
    """Return which units have the lowest scores, bool (n_units,), and among how many chance decided.

    Those removed before come first.
    """
    of_units = score.flatten(1)[:, 0].cpu()
    removed_before = (weight_of(model, each.module) == 0).flatten(1).all(dim=1).cpu()
    of_units = of_units.masked_fill(removed_before, -1.0)
    lowest = torch.zeros(each.n_units, dtype=torch.bool)
    n_removed = min(round(amount * each.n_units), each.n_units - 1)
    in_any_order = torch.randperm(each.n_units, generator=generator)
    lowest[in_any_order[of_units[in_any_order].argsort(stable=True)[:n_removed]]] = True
    tied = of_units == of_units[lowest].max() if n_removed else lowest
    is_by_chance = bool((tied & ~lowest & ~removed_before).any())
    return lowest, int(tied.sum()) if is_by_chance else 0


@torch.no_grad()  # a model whose weights had a gradient could not be copied
def _mask(module: nn.Module, removed: torch.Tensor) -> None:
    for name in ("weight", "bias"):
        values = getattr(module, name)
        if values is not None:
            kept = (~removed).to(values).reshape(-1, *[1] * (values.ndim - 1)).expand_as(values)
            torch_prune.custom_from_mask(module, name, kept)


def _affine(model: nn.Module, example: torch.Tensor) -> list[str]:
    """Return the modules whose bias can be changed, in the order they are run."""
    order: list[str] = []
    with evaluation(model, None), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, (*WEIGHTED, *NORMALIZING)) and module.bias is not None:
                hooks.callback(module.register_forward_hook(lambda *_, name=name: order.append(name)).remove)
        model(example)
    return list(dict.fromkeys(order))


def _mean_outputs(model: nn.Module, names: Iterable[str], stimuli: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the mean output of each row or feature map of modules: (n_units,) each."""
    totals: dict[str, torch.Tensor] = {}
    n: Counter[str] = Counter()

    def add(name: str, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
        by_unit = output if isinstance(module, nn.Linear) else output.movedim(1, -1)
        rows = by_unit.reshape(-1, by_unit.shape[-1])
        totals[name] = totals.get(name, 0) + rows.double().sum(dim=0)
        n[name] += len(rows)

    with evaluation(model, None), ExitStack() as hooks:
        for name in names:
            hooks.callback(model.get_submodule(name).register_forward_hook(partial(add, name)).remove)
        for some in stimuli.split(AT_ONCE):
            model(some)
    return {name: total / n[name] for name, total in totals.items()}


@torch.no_grad()
def _add_to_bias(module: nn.Module, change: torch.Tensor) -> None:
    is_masked = hasattr(module, "bias_orig")
    bias = module.bias_orig if is_masked else module.bias
    assert isinstance(bias, torch.Tensor)
    bias += change.to(bias)
    if is_masked:  # what the next pass would make of it
        module.bias = bias * module.get_buffer("bias_mask")

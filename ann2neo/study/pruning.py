"""Units removed by what they fire: scores for torch's own pruning, and biases that make up for the loss."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune
from torch.nn.utils.parametrize import is_parametrized

from ..model.evaluation import evaluation
from ..model.hooks.functions import ACTIVATIONS
from ..model.summarizer import summarize
from ..summary.summary import Summary

if TYPE_CHECKING:
    import pandas as pd


SCORES = ("rate", "variance", "rate_weight", "magnitude", "random")
"""What units can be ranked by."""

SILENT = "silent"

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

FOLLOWED: tuple[type[nn.Module], ...] = (*ACTIVATIONS, *WEIGHTED, *NORMALIZING)

AT_ONCE = 500
"""Stimuli in a forward pass."""


@dataclass(frozen=True)
class Prunable:
    """Units that can be removed: the rows of a weight, maybe a normalization of theirs, and an activation.

    Parameters
    ----------
    layer, module : str
        Names of the activation and of the module whose weights it is of.
    norm : str, optional
        Name of the batch normalization in between.
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
    convolution, or from a batch normalization of it, in a model that calls each of them once. Units that
    are added to others before they fire, as at the end of a residual block, cannot be removed alone; nor can
    those that are also read before they fire, or whose weights are parametrized.

    Parameters
    ----------
    model : torch.nn.Module
        It is run in evaluation mode.
    example : torch.Tensor
        One stimulus or more.

    Returns
    -------
    list of Prunable

    Examples
    --------
    >>> from ann2neo.study.networks import network
    >>> found = prunable(network("mlp", (1, 8, 8), 10), torch.zeros(1, 1, 8, 8))
    >>> [(each.layer, each.module, each.n_units) for each in found]
    [('relu1', 'linear1', 256), ('relu2', 'linear2', 256), ('relu3', 'linear3', 128)]
    """
    # What made a tensor, and how often it had been written to. Tensors are held, as otherwise a later one
    # could get the place of an earlier one; one that was written to since is another's work, too.
    made: dict[int, tuple[torch.Tensor, int, tuple[str, str | None]]] = {}
    found: list[Prunable] = []
    calls: Counter[str] = Counter()

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
            found.append(Prunable(name, *by, len(_weight(model, by[0]))))

    def after(name: str, module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> None:
        by: tuple[str, str | None] | None = None
        if isinstance(module, WEIGHTED) and not is_parametrized(module):
            by = name, None
        elif isinstance(module, NORMALIZING) and module.affine and (of := normalized(args)) is not None:
            by = of, name
        if by is not None:
            made[id(output)] = output, output._version, by

    with evaluation(model, None), ExitStack() as hooks:
        for name, module in model.named_modules():
            if isinstance(module, FOLLOWED):
                hooks.callback(module.register_forward_pre_hook(partial(before, name)).remove)
                hooks.callback(module.register_forward_hook(partial(after, name)).remove)
        model(example)
    readers = Counter(each.module for each in found)
    return [
        each
        for each in found
        if all(calls[name] == 1 for name in (each.layer, each.module, each.norm) if name is not None)
        and readers[each.module] == 1
        and not _is_read_elsewhere(model, each, example)
    ]


def _is_read_elsewhere(model: nn.Module, each: Prunable, example: torch.Tensor) -> bool:
    """Whether what the weights give reaches the output of the model without passing the activation."""
    made: list[torch.Tensor] = []

    def begin(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        made.append(output.detach().requires_grad_())
        return made[0] + 0  # which the activation may write to

    def cut(module: nn.Module, args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        return output.detach()

    with evaluation(model, None), torch.enable_grad(), ExitStack() as hooks:
        hooks.callback(model.get_submodule(each.module).register_forward_hook(begin).remove)
        hooks.callback(model.get_submodule(each.layer).register_forward_hook(cut).remove)
        outputs = [tensor for tensor in _tensors(model(example)) if tensor.requires_grad]
        if not outputs:
            return False
        total = torch.stack([tensor.float().sum() for tensor in outputs]).sum()
        return torch.autograd.grad(total, made[0], allow_unused=True)[0] is not None


def _tensors(output: Any) -> list[torch.Tensor]:
    """Return the tensors of what a model returns: one, or several in tuples, lists and dicts."""
    if isinstance(output, torch.Tensor):
        return [output]
    parts = (
        output.values() if isinstance(output, Mapping) else output if isinstance(output, tuple | list) else ()
    )
    return [tensor for part in parts for tensor in _tensors(part)]


def importance(
    model: nn.Module, summary: Summary, layers: list[Prunable], score: str = "rate", seed: int = 0
) -> dict[str, torch.Tensor]:
    r"""Score units by what they fire, in the shape that :mod:`torch.nn.utils.prune` takes.

    =============== ===================================================================================
    ``rate``        p, the fraction of stimuli (and places of a feature map) at which a unit spikes
    ``variance``    p (1 − p), that of its spikes: nothing for units that never or always fire
    ``rate_weight`` p · ‖w‖, with the length of its row of weights
    ``magnitude``   ‖w‖, which torch's ``ln_structured`` with n = 2 goes by
    ``random``      any order
    =============== ===================================================================================

    Only rates count: a Poisson and a Bernoulli process of the same p are scored alike.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    summary : Summary
        Of all units of its layers.
    layers : list of Prunable
        As :func:`prunable` gives them.
    score : str
        One of :data:`SCORES`.
    seed : int
        For ``"random"``.

    Returns
    -------
    dict of str to torch.Tensor
        For each weighted module, by name, a tensor like its weight, the same within a row.

    Raises
    ------
    ValueError
        If the score is unknown, or the summary has not all units of a layer.

    Examples
    --------
    >>> import ann2neo
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> stimuli = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> scores = importance(model, ann2neo.summarize(model, stimuli), prunable(model, stimuli[:1]))
    >>> _ = torch_prune.ln_structured(model[0], "weight", 0.5, n=1, dim=0, importance_scores=scores["0"])
    >>> int((model[0].weight == 0).all(dim=1).sum())
    2
    """
    if score not in SCORES:
        raise ValueError(f"score={score!r}: give one of {', '.join(SCORES)}")
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for each in layers:
        weight = _weight(model, each.module)
        if score == "random":
            of_units = torch.rand(each.n_units, generator=generator)
        elif score == "magnitude":
            of_units = weight.detach().flatten(1).norm(dim=1)
        else:
            p = _by_unit(model, summary, each)
            of_units = torch.from_numpy((p * (1 - p) if score == "variance" else p).mean(axis=1))
            if score == "rate_weight":
                of_units = of_units.to(weight) * weight.detach().flatten(1).norm(dim=1)
        shape = (-1,) + (1,) * (weight.ndim - 1)
        scores[each.module] = of_units.to(weight).reshape(shape).expand_as(weight).contiguous()
    return scores


def prune(
    model: nn.Module,
    stimuli: torch.Tensor,
    amount: float | str,
    score: str = "rate",
    *,
    fold: bool = True,
    seed: int = 0,
) -> pd.DataFrame:
    r"""Remove the units of lowest score from each layer, in place, and fold what they did into biases.

    A removed unit is masked by :func:`torch.nn.utils.prune.custom_from_mask`: its weights, its bias and its
    normalization are 0, so that a ReLU unit is silent for good. What it told the next layers on average goes
    into their biases,

    .. math:: b \leftarrow b + \langle y \rangle_\mathrm{before} - \langle y \rangle_\mathrm{after}

    where ⟨y⟩ is the mean output of a row or feature map over the stimuli, layer after layer. ReLU units that
    were silent for all stimuli are removed at no loss: for these stimuli nothing changes.

    Parameters
    ----------
    model : torch.nn.Module
        It is changed. :func:`torch.nn.utils.prune.remove` makes the masks permanent.
    stimuli : torch.Tensor
        (n_stimuli, …), on which units are scored, and for which biases are right. They must be some that the
        network may see: training images, say.
    amount : float or "silent"
        Fraction of the units of each layer, from 0 to less than 1, those removed before included, which
        leaves at least one; or all units that never spike.
    score : str
        One of :data:`SCORES`; of no matter for ``"silent"``.
    fold : bool
        Without, biases stay as they are.
    seed : int
        For ``"random"``.

    Returns
    -------
    pandas.DataFrame
        One row a layer: ``layer``, ``module``, ``n_units``, ``n_silent`` (before) and ``n_removed``.

    Raises
    ------
    ValueError
        If amount or score are none, or the model has no layer whose units can be removed.

    Notes
    -----
    Convolutions see zeros beyond the border of an image, so that the mean is right over a feature map, and
    not at every place. For activations that are not 0 where their input is 0 or less, as GELU's, "silent"
    units are not quite removed at no loss.

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
            f"amount={amount!r}: give a fraction of the units from 0 to less than 1, or 'silent'"
        )
    if score not in SCORES:
        raise ValueError(f"score={score!r}: give one of {', '.join(SCORES)}")
    layers = prunable(model, stimuli[:1])
    if not layers:
        raise ValueError(
            "no layer of this model can be pruned by its units: that takes an activation module whose input "
            "comes straight from a linear layer or a convolution, or from a batch normalization of it"
        )
    names = list(dict.fromkeys(each.layer for each in layers))
    summary = summarize(model, stimuli, names, batch_size=AT_ONCE, n_correlated=0)
    scores = importance(model, summary, layers, score, seed)
    affine = _affine(model, stimuli[:1])
    before = _mean_outputs(model, affine, stimuli) if fold else {}
    rows = []
    for each in layers:
        silent = torch.from_numpy((_by_unit(model, summary, each) == 0).all(axis=1))
        removed = silent if amount == SILENT else _lowest(model, each, scores[each.module], float(amount))
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
            }
        )
    for name, mean in before.items():
        _add_to_bias(model.get_submodule(name), mean - _mean_outputs(model, [name], stimuli)[name])
    return pd.DataFrame(rows)


def _weight(model: nn.Module, module: str) -> torch.Tensor:
    # a parameter, or, of a pruned module, the product of a parameter and its mask
    weight = model.get_submodule(module).weight
    assert isinstance(weight, torch.Tensor)
    return weight


def _by_unit(model: nn.Module, summary: Summary, each: Prunable) -> np.ndarray:
    """Return how often each unit spikes at each of its places: float64 (n_units, n_places)."""
    if each.layer not in summary.shapes:
        raise ValueError(f"the summary has no layer {each.layer!r}: it has {list(summary.shapes)}")
    shape, units = summary.shapes[each.layer], summary.units
    p = units.loc[units["layer"] == each.layer, "activation_probability"].to_numpy()
    if len(p) != np.prod(shape):
        raise ValueError(
            f"the summary has {len(p)} of the {np.prod(shape)} units of layer {each.layer!r}: scores need "
            "all, summarize without units="
        )
    # a convolution has its maps first, a linear layer its neurons last
    axis = len(shape) - 1 if isinstance(model.get_submodule(each.module), nn.Linear) else 0
    return np.moveaxis(p.reshape(shape), axis, 0).reshape(each.n_units, -1)


def _lowest(model: nn.Module, each: Prunable, score: torch.Tensor, amount: float) -> torch.Tensor:
    """Return which units have the lowest scores; those removed before come first: bool (n_units,)."""
    of_units = score.flatten(1)[:, 0].cpu()
    removed_before = (_weight(model, each.module) == 0).flatten(1).all(dim=1).cpu()
    of_units = of_units.masked_fill(removed_before, -1.0)
    lowest = torch.zeros(each.n_units, dtype=torch.bool)
    n_removed = min(round(amount * each.n_units), each.n_units - 1)
    lowest[of_units.argsort(stable=True)[:n_removed]] = True
    return lowest


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
    # of a masked bias, the one that the mask is laid over
    bias = module.bias_orig if hasattr(module, "bias_orig") else module.bias
    assert isinstance(bias, torch.Tensor)
    bias += change.to(bias)

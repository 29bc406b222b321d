"""How important units are: by their rates, their weights, or chance."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...summary.summary import Summary
from .units import Prunable, weight_of

SCORES = ("rate", "variance", "rate_weight", "magnitude", "random")
"""The scores that units can be ranked by."""


def importance(
    model: nn.Module, summary: Summary, layers: list[Prunable], score: str = "rate", seed: int = 0
) -> dict[str, torch.Tensor]:
    r"""Score units by how they fire, in the shape that :mod:`torch.nn.utils.prune` takes.

    =============== ===================================================================================
    ``rate``        p, the fraction of stimuli (and places of a feature map) at which a unit spikes
    ``variance``    p (1 − p), the variance of its spikes: 0 for units that never or always fire
    ``rate_weight`` p · ‖w‖, where ‖w‖ is the length of its row of weights
    ``magnitude``   ‖w‖, the score of torch's ``ln_structured`` with n = 2
    ``random``      drawn from 0 to 1
    =============== ===================================================================================

    Nothing but rates counts: a Poisson and a Bernoulli process of the same p have the same score.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    summary : Summary
        Statistics of all units of these layers.
    layers : list of Prunable
        As :func:`.prunable` returns them.
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
        If the score is unknown, or the summary lacks units of a layer.

    Examples
    --------
    >>> import ann2neo
    >>> from ann2neo.pruning import prunable
    >>> from torch.nn.utils.prune import ln_structured
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> stimuli = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    >>> scores = importance(model, ann2neo.summarize(model, stimuli), prunable(model, stimuli[:1]))
    >>> _ = ln_structured(model[0], "weight", 0.5, n=1, dim=0, importance_scores=scores["0"])
    >>> int((model[0].weight == 0).all(dim=1).sum())
    2
    """
    if score not in SCORES:
        raise ValueError(f"score={score!r}: give one of {', '.join(SCORES)}")
    generator = torch.Generator().manual_seed(seed)
    scores = {}
    for each in layers:
        weight = weight_of(model, each.module)
        if score == "random":
            of_units = torch.rand(each.n_units, generator=generator)
        elif score == "magnitude":
            of_units = weight.detach().flatten(1).norm(dim=1)
        else:
            p = rates_of(model, summary, each)
            of_units = torch.from_numpy((p * (1 - p) if score == "variance" else p).mean(axis=1))
            if score == "rate_weight":
                of_units = of_units.to(weight) * weight.detach().flatten(1).norm(dim=1)
        shape = (-1,) + (1,) * (weight.ndim - 1)
        scores[each.module] = of_units.to(weight).reshape(shape).expand_as(weight).contiguous()
    return scores


def rates_of(model: nn.Module, summary: Summary, each: Prunable) -> np.ndarray:
    """Return how often each unit spikes at each of its places: float64 (n_units, n_places)."""
    if each.layer not in summary.shapes:
        raise ValueError(
            f"the summary has no layer {each.layer!r}, only {list(summary.shapes)}: summarize all layers "
            "whose units are scored"
        )
    shape, units = summary.shapes[each.layer], summary.units
    p = units.loc[units["layer"] == each.layer, "activation_probability"].to_numpy()
    if len(p) != np.prod(shape):
        raise ValueError(
            f"the summary has {len(p)} of the {np.prod(shape)} units of layer {each.layer!r}, but scores "
            "need all: summarize without units="
        )
    # a convolution has its maps first, a linear layer its neurons last
    axis = len(shape) - 1 if isinstance(model.get_submodule(each.module), nn.Linear) else 0
    by_unit: np.ndarray = np.moveaxis(p.reshape(shape), axis, 0).reshape(each.n_units, -1)
    return by_unit

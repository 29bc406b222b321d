"""Regimes of training in the study: true labels, shuffled labels, and controls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Regime:
    """How a network is trained, and for how long.

    Parameters
    ----------
    description : str
        One phrase for tables.
    labels : {"none", "true", "shuffled", "redrawn"}
        The labels that are learned: none; the true labels; these permuted once; or these permuted anew every
        epoch, so that there is nothing to memorize.
    fraction : float
        Fraction of the training images whose labels are permuted.
    noise : bool
        Whether images of random pixels, with the same mean and variance, replace the training images.
    few : bool
        Whether only the first of the training images are learned.
    begins_as : str, optional
        Regime whose final weights training begins with, instead of random weights.
    as_long_as : str, optional
        Regime whose number of epochs training lasts, whatever its accuracy.
    optimizer : {"adam", "sgd"}
        ``"sgd"``: with cosine annealing, for all epochs.
    weight_decay : bool
        Whether the study's weight decay is applied.
    """

    description: str
    labels: str = "true"
    fraction: float = 1.0
    noise: bool = False
    few: bool = False
    begins_as: str | None = None
    as_long_as: str | None = None
    optimizer: str = "adam"
    weight_decay: bool = False

    @property
    def needs(self) -> str | None:
        """The regime that must be done before."""
        return self.begins_as or self.as_long_as


REGIMES = {
    "random": Regime("as initialised", "none"),
    "generalizing": Regime("true labels"),
    "memorizing": Regime("shuffled labels", "shuffled"),
    "shuffled20": Regime("20 % of the labels shuffled", "shuffled", 0.2),
    "shuffled40": Regime("40 % of the labels shuffled", "shuffled", 0.4),
    "shuffled60": Regime("60 % of the labels shuffled", "shuffled", 0.6),
    "shuffled80": Regime("80 % of the labels shuffled", "shuffled", 0.8),
    "equal_steps": Regime("true labels, as many steps as memorizing", as_long_as="memorizing"),
    "redrawn": Regime("labels shuffled anew every epoch", "redrawn", as_long_as="memorizing"),
    "true_after_shuffled": Regime("true labels after shuffled ones", begins_as="memorizing"),
    "shuffled_after_true": Regime("shuffled labels after true ones", "shuffled", begins_as="generalizing"),
    "noise": Regime("images of random pixels", "shuffled", noise=True),
    "few_true": Regime("true labels, few images", few=True),
    "few_shuffled": Regime("shuffled labels, few images", "shuffled", few=True),
    "decay_true": Regime("true labels, weight decay", weight_decay=True),
    "decay_shuffled": Regime("shuffled labels, weight decay", "shuffled", weight_decay=True),
    "sgd_true": Regime("true labels, SGD with cosine annealing", optimizer="sgd"),
    "sgd_shuffled": Regime("shuffled labels, SGD with cosine annealing", "shuffled", optimizer="sgd"),
}
"""Every regime, by name."""


def labels_of(regime: Regime, y: torch.Tensor, seed: int, epoch: int = 0) -> torch.Tensor:
    """Return the labels that a regime learns in an epoch.

    Examples
    --------
    >>> y = torch.arange(10)
    >>> half = labels_of(Regime("half", "shuffled", 0.5), y, seed=0)
    >>> int((half == y).sum()) >= 5, sorted(half.tolist()) == y.tolist()
    (True, True)
    """
    if regime.labels in ("none", "true"):
        return y
    generator = np.random.default_rng([seed, 1, epoch if regime.labels == "redrawn" else 0])
    chosen = torch.from_numpy(generator.permutation(len(y))[: round(regime.fraction * len(y))])
    learned = y.clone()
    learned[chosen.to(y.device)] = y[
        chosen[torch.from_numpy(generator.permutation(len(chosen)))].to(y.device)
    ]
    return learned

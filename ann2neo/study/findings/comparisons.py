"""What is compared in a study: indicators, and pairs of regimes that differ in one thing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CELL = ["data", "architecture"]
"""What an effect is of; seeds are its sample."""


@dataclass(frozen=True)
class Comparison:
    """Two regimes, of the same seed, that differ in one thing.

    Parameters
    ----------
    name : str
        In a word or two, for tables.
    one, other : str
        The two regimes. The effect is the indicator's value in ``one`` minus its value in ``other``.
    about : str
        What the comparison shows, in a phrase for the report.
    epoch : int, optional
        The epoch of the look that is compared; by default the last look.
    split : {"training", "test"}
        The stimuli that were recorded.
    """

    name: str
    one: str
    other: str
    about: str
    epoch: int | None = None
    split: str = "training"


MAIN = Comparison("memorizing", "memorizing", "generalizing", "at the same training accuracy")

SURVIVES = (
    Comparison(
        "test images", "memorizing", "generalizing", "recorded on images never trained on", split="test"
    ),
    Comparison("equal steps", "memorizing", "equal_steps", "after as many steps"),
    Comparison("decay", "decay_shuffled", "decay_true", "with weight decay"),
    Comparison("SGD", "sgd_shuffled", "sgd_true", "by SGD with cosine annealing"),
    Comparison("few", "few_shuffled", "few_true", "with few images"),
    Comparison("than redrawn", "memorizing", "redrawn", "against networks that had nothing to memorize"),
)
"""Comparisons in which an indicator of memorization ought to differ as in the main one."""

SHARED = (
    Comparison("epoch 1", "memorizing", "generalizing", "before anything is memorized", epoch=1),
    Comparison("redrawn", "redrawn", "generalizing", "there is nothing to memorize"),
    Comparison("retrained", "true_after_shuffled", "generalizing", "true labels learned after shuffled ones"),
)
"""Comparisons in which nothing is memorized: an indicator of memorization ought not to differ."""

COMPARISONS = (MAIN, *SURVIVES, *SHARED)

DOSE = {
    "generalizing": 0.0,
    "shuffled20": 0.2,
    "shuffled40": 0.4,
    "shuffled60": 0.6,
    "shuffled80": 0.8,
    "memorizing": 1.0,
}
"""Fraction of labels shuffled, in regimes that differ in nothing else."""

INDICATORS: Mapping[str, str] = {
    "activation_probability_mean": "p: mean over units",
    "activation_probability_var": "p: variance over units",
    "dead_fraction": "dead units",
    "always_on_fraction": "always-on units",
    "fano_factor_mean": "Fano: mean",
    "fano_factor_var": "Fano: variance",
    "fano_factor_var_excess": "Fano: variance without noise",
    "relative_fano_factor_mean": "relative Fano: mean",
    "relative_cv_isi_mean": "CV/√(1−p): mean",
    "poisson_dispersion_rejected": "rejected: Poisson, counts",
    "exponential_isi_rejected": "rejected: Poisson, intervals",
    "binomial_dispersion_rejected": "rejected: Bernoulli, counts",
    "geometric_isi_rejected": "rejected: Bernoulli, intervals",
    "rescaled_isi_rejected": "rejected: Bernoulli, rescaled intervals",
    "correlation_mean": "correlation of units: mean",
    "participation_ratio": "participation ratio",
    "sorted_relative_fano_factor_mean": "sorted by class: relative Fano",
    "class_selectivity": "class selectivity ε²",
}
"""What is judged, and its name in tables."""

"""Effect sizes between regimes of training, and the verdict on each indicator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .study import Results

if TYPE_CHECKING:
    import pandas as pd


CELL = ["data", "architecture"]
"""What an effect is of; seeds are its sample."""

N_RESAMPLES = 9999


@dataclass(frozen=True)
class Comparison:
    """Two regimes, of the same seed, that differ in one thing.

    Parameters
    ----------
    name : str
        In a word or two, for tables.
    one, other : str
        The effect is the indicator in one less that in the other.
    about : str
        What it is good for.
    epoch : int, optional
        At which look; by default the last.
    split : {"training", "test"}
        Which stimuli were recorded.
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
"""Comparisons in which an indicator of memorization ought not to differ, as nothing is memorized."""

COMPARISONS = (MAIN, *SURVIVES, *SHARED)

DOSE = {
    "generalizing": 0.0,
    "shuffled20": 0.2,
    "shuffled40": 0.4,
    "shuffled60": 0.6,
    "shuffled80": 0.8,
    "memorizing": 1.0,
}
"""Fraction of labels shuffled in the regimes that differ in it alone."""

INDICATORS: Mapping[str, str] = {
    "activation_probability_mean": "p: mean over units",
    "activation_probability_var": "p: variance over units",
    "dead_fraction": "dead units",
    "always_on_fraction": "always-on units",
    "fano_factor_mean": "Fano: mean",
    "fano_factor_var": "Fano: variance",
    "fano_factor_var_excess": "Fano: variance without noise",
    "relative_fano_factor_mean": "Fano/(1−p): mean",
    "relative_cv_isi_mean": "CV/√(1−p): mean",
    "poisson_dispersion_rejected": "rejected: Poisson, counts",
    "exponential_isi_rejected": "rejected: Poisson, intervals",
    "binomial_dispersion_rejected": "rejected: Bernoulli, counts",
    "geometric_isi_rejected": "rejected: Bernoulli, intervals",
    "rescaled_isi_rejected": "rejected: Bernoulli, rescaled intervals",
    "correlation_mean": "correlation of units: mean",
    "participation_ratio": "participation ratio",
    "sorted_relative_fano_factor_mean": "sorted by class: Fano/(1−p)",
    "class_selectivity": "class selectivity ε²",
}
"""What is judged, and its name in tables."""

NEEDS_LABELS = ("sorted_relative_fano_factor_mean", "class_selectivity")


def effects(results: Results, *, layer: str = "network", seed: int = 0) -> pd.DataFrame:
    """Return the effect of each comparison on each indicator, with bootstrap intervals over seeds.

    Units are no sample: they share a network. The effect is the mean over seeds of the difference between two
    networks of one seed, which began with the same weights and saw the same images; its interval is the 95 %
    percentile interval of the bootstrap over seeds. With three seeds this is the range of the three
    differences, which all have the same sign in one of four cases where there is no effect: count over data
    sets and architectures, too.

    Parameters
    ----------
    results : Results
        Of :func:`ann2neo.study.study.run_study`.
    layer : str
        ``"network"``; a layer's name; or ``"last"``, the last hidden one of each architecture.
    seed : int
        Of the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a data set, architecture, comparison and indicator: ``effect, low, high``, ``n_seeds``, and
        ``separates``: whether the interval leaves 0 out, which needs two seeds.
    """
    import pandas as pd

    rows = []
    looks = results.indicators
    columns = [*CELL, "comparison", "indicator", "effect", "low", "high", "n_seeds", "separates"]
    looks = _of_layer(looks, layer)
    for comparison in COMPARISONS:
        of_split = looks[looks["split"] == comparison.split]
        seen = of_split[
            of_split["last"] if comparison.epoch is None else of_split["epoch"] == comparison.epoch
        ]
        seen = seen.drop_duplicates([*CELL, "regime", "seed"], keep="last").set_index([*CELL, "seed"])
        known = [name for name in INDICATORS if name in seen]
        one, other = (seen[seen["regime"] == regime][known] for regime in (comparison.one, comparison.other))
        differences = (one - other).dropna(how="all")
        for cell, of_cell in differences.groupby(level=CELL):
            for name in known:
                row = dict(zip(CELL, cell, strict=True), comparison=comparison.name, indicator=name)
                rows.append({**row, **_over_seeds(of_cell[name].dropna().to_numpy(), seed)})
    return pd.DataFrame(rows, columns=columns)


def _of_layer(looks: pd.DataFrame, layer: str) -> pd.DataFrame:
    if layer != "last":
        return looks[looks["layer"] == layer]
    hidden = looks[looks["layer"] != "network"]
    return hidden.groupby(
        [*CELL, "regime", "seed", "epoch", "last", "split"], as_index=False, sort=False
    ).last()


def _over_seeds(differences: np.ndarray, seed: int) -> dict[str, Any]:
    n = len(differences)
    effect = differences.mean() if n else np.nan
    low = high = effect
    if n > 1 and np.ptp(differences) > 0:
        from scipy.stats import bootstrap

        interval = bootstrap(
            (differences,),
            np.mean,
            n_resamples=N_RESAMPLES,
            method="percentile",
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        low, high = interval
    separates = n > 1 and (low > 0 or high < 0)
    return {"effect": effect, "low": low, "high": high, "n_seeds": n, "separates": bool(separates)}


def verdicts(results: Results, table: pd.DataFrame | None = None, *, layer: str = "network") -> pd.DataFrame:
    """Judge whether each indicator separates memorizing from generalizing networks, and only these.

    Parameters
    ----------
    results : Results
        Of a study.
    table : pandas.DataFrame, optional
        What :func:`effects` returned for them and the layer, if that has been done.
    layer : str
        As for :func:`effects`.

    Returns
    -------
    pandas.DataFrame
        One row an indicator. ``direction``: higher or lower in memorizing networks, in most of the cells that
        separate. ``separates``: in how many of the cells (data set × architecture) it does in this direction.
        For each comparison of :data:`SURVIVES` and :data:`SHARED` the same count. ``dose``: Spearman's
        correlation of the indicator with the fraction of labels shuffled, the mean over cells. ``verdict`` in
        words, by these rules: *no* if fewer than half of the cells separate; *not robust* if one of the
        comparisons that it ought to survive separates, in this direction, in fewer than half of its cells;
        *not of memorization alone* if one in which nothing is memorized separates in this direction in half
        of its cells or more, with the names of these; *open* if it passed those that were made, and the study
        has not the regimes for others, with the names of these; else *yes*.
    """
    import pandas as pd

    table = effects(results, layer=layer) if table is None else table
    doses = _doses(results, layer)
    rows = []
    for name, of_indicator in table.groupby("indicator", sort=False):
        by = dict(iter(of_indicator.groupby("comparison")))
        if MAIN.name not in by:
            continue
        separating = by[MAIN.name][by[MAIN.name]["separates"]]
        sign = np.sign(np.sign(separating["effect"]).sum()) if len(separating) else 0

        shares = {each.name: _share(by.get(each.name), sign) for each in COMPARISONS}
        rows.append(
            {
                "indicator": INDICATORS[str(name)],
                "direction": {1: "higher", -1: "lower", 0: "–"}[int(sign)],
                **{c: f"{k} of {n}" if n else "–" for c, (k, n) in shares.items()},
                "dose": doses.get(str(name), np.nan),
                "verdict": _verdict(shares),
            }
        )
    return pd.DataFrame(rows).rename(columns={MAIN.name: "separates"})


def _share(rows: pd.DataFrame | None, sign: float) -> tuple[int, int]:
    """Count the cells of a comparison that separate in a direction, and all of them."""
    if rows is None:
        return 0, 0
    return int((rows["separates"] & (np.sign(rows["effect"]) == sign)).sum()), len(rows)


def _verdict(shares: Mapping[str, tuple[int, int]]) -> str:
    k, n = shares[MAIN.name]
    if 2 * k < n or not k:
        return "no"
    fails = [c.name for c in SURVIVES if shares[c.name][1] and 2 * shares[c.name][0] < shares[c.name][1]]
    also = [c.name for c in SHARED if shares[c.name][1] and 2 * shares[c.name][0] >= shares[c.name][1]]
    words = []
    if fails:
        words.append(f"not robust ({', '.join(fails)})")
    if also:
        words.append(f"not of memorization alone ({', '.join(also)})")
    missing = [c.name for c in (*SURVIVES, *SHARED) if not shares[c.name][1]]
    if missing and not words:
        words.append(f"open (not made: {', '.join(missing)})")
    return "; ".join(words) or "yes"


def _doses(results: Results, layer: str) -> dict[str, float]:
    from scipy.stats import spearmanr

    looks = results.indicators
    if looks.empty:
        return {}
    seen = _of_layer(looks[looks["last"] & (looks["split"] == "training")], layer)
    seen = seen[seen["regime"].isin(DOSE)]
    found: dict[str, list[float]] = {}
    for _, of_cell in seen.groupby([*CELL, "seed"]):
        dose = of_cell["regime"].map(DOSE)
        if len(dose) < 3:
            continue
        for name in INDICATORS:
            values = of_cell.get(name)
            if values is not None and values.nunique() > 1:
                found.setdefault(name, []).append(float(spearmanr(dose, values, nan_policy="omit").statistic))
    return {name: float(np.nanmean(values)) for name, values in found.items()}

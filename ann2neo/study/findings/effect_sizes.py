"""Effect sizes between regimes of training, with intervals over seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..cells import Results
from .comparisons import CELL, COMPARISONS, INDICATORS

if TYPE_CHECKING:
    import pandas as pd


N_RESAMPLES = 9999


def effects(results: Results, *, layer: str = "network", seed: int = 0) -> pd.DataFrame:
    """Return the effect of each comparison on each indicator, with bootstrap intervals over seeds.

    Seeds are the sample, never units: units of one network share its weights. Two networks of one seed began
    with the same weights and saw the same images. The effect is the mean over seeds of their difference, its
    interval the 95 % percentile interval of the bootstrap over seeds. With three seeds this is the range of
    the three differences. Without any effect, these all have the same sign in one of four cases: count over
    data sets and architectures, too.

    A network that did not reach its goal, or diverged, is no evidence: its seed is left out.

    Parameters
    ----------
    results : Results
        As :func:`ann2neo.study.run_study` returns them.
    layer : str
        ``"network"``; a layer's name; or ``"last"``, the last hidden one of each architecture.
    seed : int
        For the bootstrap.

    Returns
    -------
    pandas.DataFrame
        One row a data set, architecture, comparison and indicator: ``effect``, ``low``, ``high``,
        ``n_seeds``; ``n_missed``, how many seeds more there are in which one of the two networks missed its
        goal; and ``separates``, whether the interval leaves 0 out (it needs two seeds).
    """
    import pandas as pd

    rows = []
    looks = results.indicators
    numbers = ["effect", "low", "high", "n_seeds", "n_missed", "separates"]
    columns = [*CELL, "comparison", "indicator", *numbers]
    looks = of_layer(looks, layer)
    missed = missed_their_goal(results)
    for comparison in COMPARISONS:
        of_split = looks[looks["split"] == comparison.split]
        seen = of_split[
            of_split["last"] if comparison.epoch is None else of_split["epoch"] == comparison.epoch
        ]
        seen = seen.drop_duplicates([*CELL, "regime", "seed"], keep="last").set_index([*CELL, "seed"])
        known = [name for name in INDICATORS if name in seen]
        one, other = (seen[seen["regime"] == regime][known] for regime in (comparison.one, comparison.other))
        differences = (one - other).loc[one.index.intersection(other.index)]
        regimes = {comparison.one, comparison.other}
        is_missed = np.array(
            [any((*pair, regime) in missed for regime in regimes) for pair in differences.index], bool
        )
        for cell, of_cell in differences.assign(missed=is_missed).groupby(level=CELL):
            evidence = of_cell[~of_cell["missed"]]
            for name in known:
                row = dict(zip(CELL, cell, strict=True), comparison=comparison.name, indicator=name)
                row["n_missed"] = len(of_cell) - len(evidence)
                rows.append({**row, **_over_seeds(evidence[name].dropna().to_numpy(), seed)})
    return pd.DataFrame(rows, columns=columns)


def missed_their_goal(results: Results) -> set[tuple[Any, ...]]:
    """Return data, architecture, seed and regime of the networks that are no evidence."""
    if results.cells.empty:
        return set()
    missed = results.cells[results.cells["status"] != "done"]
    return {*missed[[*CELL, "seed", "regime"]].itertuples(index=False, name=None)}


def of_layer(looks: pd.DataFrame, layer: str) -> pd.DataFrame:
    """Return the looks at one layer: see :func:`effects`."""
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

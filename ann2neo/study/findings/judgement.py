"""The verdict on each indicator, by rules that are the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..cells import Results
from .comparisons import CELL, COMPARISONS, DOSE, INDICATORS, MAIN, SHARED, SURVIVES
from .effect_sizes import effects, missed_their_goal, of_layer

if TYPE_CHECKING:
    import pandas as pd

FEWEST_SEEDS = 2
"""An interval over seeds needs two of them."""


def verdicts(results: Results, table: pd.DataFrame | None = None, *, layer: str = "network") -> pd.DataFrame:
    """Judge whether each indicator separates memorizing from generalizing networks, and only these.

    Parameters
    ----------
    results : Results
        The results of a study.
    table : pandas.DataFrame, optional
        What :func:`.effects` returned for these results and this layer; by default it is computed.
    layer : str
        ``"network"``; a layer's name; or ``"last"``, the last hidden layer of each architecture.

    Returns
    -------
    pandas.DataFrame
        One row an indicator. A cell is a data set and an architecture.

        ``direction``: higher or lower in memorizing networks, in most of the cells that separate.

        ``separates``: in how many of the cells the indicator separates in this direction; then the same count
        for each comparison of :data:`.SURVIVES` and :data:`.SHARED`.

        ``dose``: Spearman's correlation of the indicator with the fraction of labels shuffled, the mean over
        cells.

        Only cells count in which two seeds at least have both networks, and these reached their goal.

        ``verdict``, with the names of the comparisons that decide it:

        - *cannot tell*: no cell counts, with what it needs;
        - *no*: fewer than half of the cells separate;
        - *not robust*: in a comparison of :data:`.SURVIVES`, fewer than half of the cells separate in this
          direction;
        - *not of memorization alone*: in a comparison of :data:`.SHARED`, half of the cells or more separate
          in this direction;
        - *open*: none of these, but the study lacks the regimes for some comparisons;
        - *yes*: none of these.
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
                "verdict": _verdict(shares) if shares[MAIN.name][1] else _cannot_tell(by[MAIN.name]),
            }
        )
    return pd.DataFrame(rows).rename(columns={MAIN.name: "separates"})


def _share(rows: pd.DataFrame | None, sign: float) -> tuple[int, int]:
    """Count the cells of a comparison that separate in a direction, and all that have two seeds."""
    if rows is None:
        return 0, 0
    rows = rows[rows["n_seeds"] >= FEWEST_SEEDS]
    return int((rows["separates"] & (np.sign(rows["effect"]) == sign)).sum()), len(rows)


def _cannot_tell(rows: pd.DataFrame) -> str:
    """Say what is lacking: one seed, or a goal that was missed, separates nothing and refutes nothing."""
    if not rows["n_seeds"].any() and not rows["n_missed"].any():
        return "cannot tell (it is not defined here)"
    goal = " that reach their goal" if rows["n_missed"].any() else ""
    return f"cannot tell (needs {FEWEST_SEEDS} seeds{goal})"


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
    seen = of_layer(looks[looks["last"] & (looks["split"] == "training")], layer)
    seen = seen[seen["regime"].isin(DOSE)]
    missed = missed_their_goal(results)
    networks = seen[[*CELL, "seed", "regime"]].itertuples(index=False, name=None)
    seen = seen[np.array([network not in missed for network in networks], bool)]
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

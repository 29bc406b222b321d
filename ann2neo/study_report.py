"""What a study found: effect sizes over seeds, verdicts, figures, and a report in Markdown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import plot
from .memorization import Results
from .regimes import REGIMES
from .tables import save_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

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

SHOWN = ("random", "generalizing", "memorizing", "redrawn", "true_after_shuffled", "noise")
"""Regimes that the figures show, where a study has them."""


# -- effects and verdicts ----------------------------------------------------------------------------


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
        Of :func:`ann2neo.memorization.run_study`.
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


# -- figures -----------------------------------------------------------------------------------------


def _colour(regime: str) -> str:
    return plot.COLOURS[SHOWN.index(regime) % len(plot.COLOURS)]


def _cells(table: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    return [*table.groupby(CELL, sort=False)]


def along_training(results: Results) -> Figure:
    """Draw accuracy and indicators against the epoch: a row a data set and architecture, a line a seed."""
    plot.require()
    from matplotlib.figure import Figure

    columns = ("activation_probability_mean", "relative_fano_factor_mean", "class_selectivity")
    looks = results.indicators
    looks = looks[(looks["layer"] == "network") & (looks["split"] == "training")]
    looks = looks.drop_duplicates([*CELL, "regime", "seed", "epoch"], keep="last")
    cells = _cells(looks)
    figure = Figure(figsize=(15, 1 + 3 * len(cells)), dpi=100, layout="constrained")
    grid = figure.subplots(len(cells), 2 + len(columns), squeeze=False)
    for axes, (cell, of_cell) in zip(grid, cells, strict=True):
        training = results.training
        training = training[(training[CELL] == list(cell)).all(axis=1)]
        for regime in [r for r in SHOWN[1:] if r in set(of_cell["regime"])]:
            colour, label = _colour(regime), REGIMES[regime].description
            for seed, of_seed in of_cell[of_cell["regime"] == regime].groupby("seed"):
                first = label if seed == of_cell["seed"].min() else None
                progress = training[(training["regime"] == regime) & (training["seed"] == seed)]
                for ax, column in zip(axes[:2], ("learned_accuracy", "test_accuracy"), strict=True):
                    seen = progress.dropna(subset=[column])
                    ax.plot(seen["epoch"], seen[column], color=colour, linewidth=1, label=first)
                for ax, column in zip(axes[2:], columns, strict=True):
                    plot.indicators(of_seed, column, ax=ax, color=colour)
                    ax.set_ylabel(INDICATORS[column])
            axes[2 + columns.index("relative_fano_factor_mean")].set_ylim(0, 1.2)  # all else is noise
        for ax, title in zip(axes, ("accuracy on labels learned", "accuracy on test images"), strict=False):
            ax.set(ylim=(0, 1.02), ylabel=title, xlabel="epoch")
        for ax in axes:
            ax.set_xscale("symlog", linthresh=1)
            ax.set_xlim(left=0)
        axes[0].set_title(f"{cell[0]}, {cell[1]}", loc="left", fontweight="bold")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def distributions(results: Results) -> Figure:
    """Draw how p is distributed over units, layer by layer and regime by regime, from quantiles."""
    plot.require()
    from matplotlib.figure import Figure

    table = results.distributions
    table = table[table["split"] == "training"]
    cells = _cells(table)
    figure = Figure(figsize=(15, 1 + 3 * len(cells)), dpi=100, layout="constrained")
    grid = figure.subplots(len(cells), 1, squeeze=False)[:, 0]
    for ax, (cell, of_cell) in zip(grid, cells, strict=True):
        of_cell = of_cell.assign(box=of_cell["layer"] + " " + of_cell["regime"])
        mean = of_cell.groupby(["box", "quantile"])["activation_probability"].mean().unstack()
        layers = [*of_cell["layer"].unique()]
        regimes = [r for r in SHOWN if r in set(of_cell["regime"])]
        for i, regime in enumerate(regimes):
            boxes = []
            for layer in layers:
                q = mean.loc[f"{layer} {regime}"]
                at = [float(np.interp(x, q.index, q)) for x in (0.05, 0.25, 0.5, 0.75, 0.95)]
                names = ("whislo", "q1", "med", "q3", "whishi")
                boxes.append(dict(zip(names, at, strict=True), fliers=[]))
            places = np.arange(len(boxes)) + (i - (len(regimes) - 1) / 2) * 0.8 / len(regimes)
            colour = _colour(regime)
            line = {"color": colour}
            ax.bxp(
                boxes,
                positions=places,
                widths=0.6 / len(regimes),
                manage_ticks=False,
                patch_artist=True,
                boxprops={"facecolor": colour, "alpha": 0.35},
                medianprops={"color": colour, "linewidth": 2},
                whiskerprops=line,
                capprops=line,
            )
            ax.plot([], [], "s", color=colour, label=REGIMES[regime].description)
        ax.set_xticks(range(len(layers)), layers, rotation=30 if len(layers) > 8 else 0)
        ax.set(ylim=(-0.02, 1.02), ylabel="activation probability p")
        ax.set_title(f"{cell[0]}, {cell[1]}", loc="left", fontweight="bold")
    note = "box: middle half of the units, line: median, whiskers: 5 to 95 %; quantiles are means over seeds"
    figure.supxlabel(note, fontsize="medium", color="#444444")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    return figure


def fano_against_rate(results: Results) -> Figure:
    """Draw the Fano factor of units against p: in random order beside 1 − p, and sorted by class."""
    plot.require()
    from matplotlib.figure import Figure

    cells = _cells(results.units)
    figure = Figure(figsize=(10, 1 + 3 * len(cells)), dpi=100, layout="constrained")
    grid = figure.subplots(len(cells), 2, squeeze=False)
    p = np.linspace(0, 1, 101)
    for axes, (cell, of_cell) in zip(grid, cells, strict=True):
        of_cell = of_cell[of_cell["seed"] == of_cell["seed"].min()]
        for regime in [r for r in SHOWN[:4] if r in set(of_cell["regime"])]:
            units = of_cell[of_cell["regime"] == regime]
            for ax, column in zip(axes, ("fano_factor", "sorted_fano_factor"), strict=True):
                style = {"s": 8, "alpha": 0.5, "linewidths": 0, "color": _colour(regime)}
                ax.scatter(units["activation_probability"], units[column], label=regime, **style)
        for ax, order in zip(axes, ("random order", "sorted by class"), strict=True):
            ax.plot(p, 1 - p, color="black", linewidth=1, label="Bernoulli: 1 − p")
            ax.set(xlim=(0, 1), xlabel="activation probability p", ylabel=f"Fano factor, {order}")
            ax.set_ylim(bottom=0)
        axes[0].set_title(f"{cell[0]}, {cell[1]}", loc="left", fontweight="bold")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    return figure


def rejections(results: Results) -> Figure:
    """Draw the fraction of units rejected under each null, with Bernoulli surrogates of the same p beside."""
    plot.require()
    from matplotlib.figure import Figure

    looks = results.indicators
    last = looks[looks["last"] & (looks["layer"] == "network") & (looks["split"] == "training")]
    nulls = [name for name in INDICATORS if name.endswith("_rejected") and name in last]
    cells = _cells(last)
    figure = Figure(figsize=(15, 1 + 2.6 * len(cells)), dpi=100, layout="constrained")
    grid = figure.subplots(len(cells), len(nulls), squeeze=False, sharey=True)
    for axes, (cell, of_cell) in zip(grid, cells, strict=True):
        regimes = [r for r in SHOWN if r in set(of_cell["regime"])]
        of_regimes = of_cell.groupby("regime")
        for ax, null in zip(axes, nulls, strict=True):
            mean, surrogate = of_regimes[null].mean(), of_regimes[f"surrogate_{null}"].mean()
            colours = [_colour(regime) for regime in regimes]
            ax.bar(range(len(regimes)), mean[regimes], color=colours, width=0.7)
            mark = {"color": "white", "markeredgecolor": "black", "label": "Bernoulli surrogates"}
            ax.plot(range(len(regimes)), surrogate[regimes], "D", markersize=5, **mark)
            ax.set_xticks(range(len(regimes)), regimes, rotation=40, ha="right")
            ax.set_ylim(0, 1.02)
            ax.set_title(INDICATORS[null], fontsize="medium")
        axes[0].set_ylabel(f"{cell[0]}, {cell[1]}\nfraction of units")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", frameon=False)
    return figure


FIGURES = {
    "training.png": (along_training, "Accuracy and indicators along training; a line is a seed."),
    "distributions.png": (distributions, "Distribution over units of the activation probability."),
    "fano.png": (fano_against_rate, "Fano factor of units against p, of the first seed."),
    "rejected.png": (
        rejections,
        "Units rejected under each null; bars: networks, diamonds: Bernoulli surrogates.",
    ),
}


# -- the report --------------------------------------------------------------------------------------

CAVEAT = """\
Seeds are the sample, never units: units of one network share its weights and the order of the stimuli.
With {seeds} seeds an interval that leaves 0 out means little by itself; look at how many cells agree. With
shuffled stimuli a unit's train is exchangeable, so "Bernoulli fits" tests the shuffle; the surrogates,
independent Bernoulli trains of the same p, show what p alone explains. Class selectivity, and all that is
sorted by class, needs the true labels. What is found here is of these networks, data and settings."""


def write_report(results: Results, folder: str | os.PathLike[str], *, tables: str = "csv") -> Path:
    """Write tables, figures and ``report.md`` of a study.

    Parameters
    ----------
    results : Results
        Of :func:`ann2neo.memorization.run_study`.
    folder : path
        Where to; files of the same names are replaced.
    tables : {"csv", "parquet"}
        Format of the tables ``cells``, ``training``, ``indicators``, ``distributions``, ``units``,
        ``effects`` and ``verdicts``.

    Returns
    -------
    pathlib.Path
        Of the report.

    Raises
    ------
    ValueError
        If no cell is done.
    """
    folder = Path(folder)
    if results.indicators.empty:
        raise ValueError(f"no cell of the study is done: {_count(results)}")
    of_network, judged = effects(results), None
    judged = verdicts(results, of_network)
    for name, table in {
        **{
            name: getattr(results, name)
            for name in ("cells", "training", "indicators", "distributions", "units")
        },
        "effects": of_network,
        "verdicts": judged,
    }.items():
        save_table(table, folder / f"{name}.{tables}", overwrite=True)
    for name, (draw, _) in FIGURES.items():
        draw(results).savefig(folder / name)
    path = folder / "report.md"
    path.write_text(_text(results, of_network, judged), encoding="utf-8")
    return path


def _count(results: Results) -> str:
    counts = results.cells["status"].value_counts() if len(results.cells) else {}
    return ", ".join(f"{n} {status}" for status, n in counts.items()) or "no cell was run"


def _text(results: Results, of_network: pd.DataFrame, judged: pd.DataFrame) -> str:
    study, of_last = results.study, effects(results, layer="last")
    settings = ", ".join(f"{name} {value}" for name, value in study.settings.items())
    parts = [
        "# Networks that memorize, and what tells them apart",
        f"{', '.join(study.data)} × {', '.join(study.architectures)} × {len(study.regimes)} regimes × "
        f"{study.seeds} seeds; {settings}.",
        f"{len(results.cells)} of {len(study.cells)} cells were run: {_count(results)}.",
        _unsettled(results),
        "## How well they learned",
        "Means over seeds: epochs, accuracy on the labels learned, accuracy on test images.",
        _markdown(_learned(results)),
        "## Verdicts",
        _explanation(),
        _markdown(judged) if len(judged) else "The study lacks memorizing or generalizing networks.",
        "The last hidden layer alone:" if len(judged) else "",
        _markdown(verdicts(results, of_last, layer="last")) if len(judged) else "",
        CAVEAT.format(seeds=study.seeds),
        "## Indicators by regime",
        "The whole network at the last look, recorded on training images: means over seeds.",
        *_by_regime(results),
        "## Effects",
        "Memorizing less generalizing: mean difference and 95 % bootstrap interval over seeds; bold where it "
        "leaves 0 out.",
        _markdown(_wide(of_network)),
        "In the last hidden layer alone:",
        _markdown(_wide(of_last)),
        "## Figures",
        *(f"![{caption}]({name})\n\n{caption}" for name, (_, caption) in FIGURES.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _explanation() -> str:
    return (
        "*separates*: in how many cells (data set × architecture) memorizing networks differ from "
        "generalizing ones in this direction. Then the same count for comparisons that an indicator of "
        f"memorization ought to survive ({_named(SURVIVES)}) and for those in which nothing is memorized, "
        f"where it ought not to differ ({_named(SHARED)}). "
        "*dose*: rank correlation with the fraction of labels shuffled."
    )


def _named(comparisons: tuple[Comparison, ...]) -> str:
    return "; ".join(f"{each.name}: {each.about}" for each in comparisons)


def _unsettled(results: Results) -> str:
    """Name the cells that did not end as they should."""
    rows = results.cells[results.cells["status"] != "done"]
    if rows.empty:
        return ""
    lines = ["Cells that did not end as they should (they are in all tables, with this status):", ""]
    for row in rows.to_dict("records"):
        why = row.get("error")
        why = f": {why}" if isinstance(why, str) else ""
        reached = row.get("learned_accuracy")
        reached = (
            f" ({reached:.1%} after {row['epochs']:.0f} epochs)" if reached == reached and reached else ""
        )
        cell = ", ".join(row[name] for name in (*CELL, "regime"))
        lines.append(f"- {cell}, seed {row['seed']}: {row['status']}{reached}{why}")
    return "\n".join(lines)


def _learned(results: Results) -> pd.DataFrame:
    done = results.cells[results.cells["status"] != "failed"]
    means = done.groupby(["regime", *CELL], sort=False)[
        ["epochs", "learned_accuracy", "test_accuracy"]
    ].mean()
    cells = means.apply(
        lambda row: f"{row['epochs']:.0f}; {row['learned_accuracy']:.1%}; {row['test_accuracy']:.1%}", axis=1
    )
    return _across(cells)


def _across(cells: pd.Series) -> pd.DataFrame:
    """Return one row a regime or indicator, one column a data set and architecture."""
    first = cells.index.names[0]
    order = list(dict.fromkeys(cells.index.get_level_values(0)))
    wide = cells.unstack(CELL).reindex(order)
    wide.columns = [", ".join(pair) for pair in wide.columns]
    return wide.fillna("–").rename_axis(first).reset_index()


def _by_regime(results: Results) -> list[str]:
    looks = results.indicators
    last = looks[looks["last"] & (looks["layer"] == "network") & (looks["split"] == "training")]
    means = last.groupby(["regime", *CELL], sort=False).mean(numeric_only=True)
    parts = []
    for name, title in INDICATORS.items():
        if name not in means:
            continue
        cells = means[name].map("{:.3f}".format)
        surrogate = f"surrogate_{name}"
        if surrogate in means:
            cells = cells + means[surrogate].map(" ({:.3f})".format)
            title += " (in brackets: Bernoulli surrogates)"
        parts += [f"**{title}**", _markdown(_across(cells))]
    return parts


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    main = table[table["comparison"] == MAIN.name].set_index(["indicator", *CELL])

    def cell(row: pd.Series) -> str:
        text = f"{row['effect']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        return f"**{text}**" if row["separates"] else text

    if main.empty:
        return main.reset_index()
    wide = _across(main.apply(cell, axis=1))
    return wide.assign(indicator=wide["indicator"].map(INDICATORS))


def _markdown(table: pd.DataFrame) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return "–" if np.isnan(value) else f"{value:.2f}"
        return str(value)

    rows = [[*table.columns], ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(text, row)) + " |" for row in rows)

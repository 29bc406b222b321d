"""The figures of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ... import plot
from ..cells import Results
from ..regimes import REGIMES
from .comparisons import CELL, INDICATORS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


SHOWN = ("random", "generalizing", "memorizing", "redrawn", "true_after_shuffled", "noise")
"""Regimes that the figures show, where a study has them."""


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
    """Draw the Fano factor of units against p: in random order beside independent bins, and by class."""
    plot.require()
    from matplotlib.figure import Figure

    cells = _cells(results.units)
    figure = Figure(figsize=(10, 1 + 3 * len(cells)), dpi=100, layout="constrained")
    grid = figure.subplots(len(cells), 2, squeeze=False)
    p = np.linspace(0, 1, 101)
    n = min(results.study.n_stimuli, results.study.n_training) // results.study.window
    for axes, (cell, of_cell) in zip(grid, cells, strict=True):
        of_cell = of_cell[of_cell["seed"] == of_cell["seed"].min()]
        for regime in [r for r in SHOWN[:4] if r in set(of_cell["regime"])]:
            units = of_cell[of_cell["regime"] == regime]
            for ax, column in zip(axes, ("fano_factor", "sorted_fano_factor"), strict=True):
                style = {"s": 8, "alpha": 0.5, "linewidths": 0, "color": _colour(regime)}
                ax.scatter(units["activation_probability"], units[column], label=regime, **style)
        for ax, order in zip(axes, ("random order", "sorted by class"), strict=True):
            line = {"color": "black", "linewidth": 1, "label": f"Bernoulli: {n - 1}/{n} · (1 − p)"}
            ax.plot(p, (1 - 1 / n) * (1 - p), **line)
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

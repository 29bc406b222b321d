"""Statistics of units, drawn on given Axes: the distribution of p, and other statistics against p."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..summary.summary import Summary
from .style import COLOURS, LIGHT, axis_label, require, statistic_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


N_RATE_BINS = 25

FEW = 30
"""Up to this many units are drawn as larger points."""


def rates(summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]) -> None:
    """Draw the distribution over units of the activation probability p, and so of the firing rate.

    With stimuli in random order, the spike train of one unit tells nothing beyond p. Networks differ in how p
    is distributed over units. The bottom axis is p, the top axis the rate, p / bin size.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.
    ax : matplotlib.axes.Axes
        Where to draw; draw several summaries on one to compare them.
    label : str, optional
        For the legend.
    color : matplotlib colour
        The colour of the line.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import Recording, SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 1, 0]])})
    >>> ax = Figure().subplots()
    >>> rates(recording.summarize(), ax=ax, label="toy")
    >>> ax.get_xlabel()
    'activation probability: fraction of bins with a spike, p'
    """
    require()
    p = summary.values["activation_probability"]
    edges = np.linspace(0, 1, N_RATE_BINS + 1)
    heights = np.histogram(p, edges)[0] / len(p) * 100
    ax.stairs(heights, edges, color=color, linewidth=1.8, label=label)
    ax.set(xlim=(0, 1), xlabel=axis_label("activation_probability"), ylabel="units (%)")
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.2 * heights.max()))
    if not ax.child_axes:
        per_p = 1e3 / summary.time.bin_size

        def rate(p: Any) -> Any:
            return p * per_p

        def probability(rate: Any) -> Any:
            return rate / per_p

        top = ax.secondary_xaxis("top", functions=(rate, probability))
        top.set_xlabel(axis_label("mean_firing_rate"))


def fano_against_rate(
    summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]
) -> None:
    """Draw the Fano factor of each unit against p, beside memoryless processes.

    Independent bins (Bernoulli) give 1 − p, a Poisson process 1. A bin holds one spike at most, so the
    curve to compare with is 1 − p.

    Parameters
    ----------
    summary : Summary
        Statistics of the units; silent ones have no Fano factor.
    ax : matplotlib.axes.Axes
        Where to draw; draw several summaries on one to compare them.
    label : str, optional
        For the legend.
    color : matplotlib colour
        The colour of the points.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import Recording, SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 1, 0]])})
    >>> ax = Figure().subplots()
    >>> fano_against_rate(recording.summarize(window=1), ax=ax, label="toy")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['Poisson: 1', 'Bernoulli: 1 − p', 'toy']
    """
    _against_rate("fano_factor", "1 − p", summary, ax=ax, label=label, color=color)
    ax.set_ylabel(f"Fano factor of spike counts in {summary.window} bins")


def cv_against_rate(summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]) -> None:
    """Draw the coefficient of variation of each unit's intervals against p, beside memoryless processes.

    Independent bins (Bernoulli) give √(1 − p), a Poisson process 1.

    Parameters
    ----------
    summary : Summary
        Statistics of the units; units without intervals have no CV.
    ax : matplotlib.axes.Axes
        Where to draw; draw several summaries on one to compare them.
    label : str, optional
        For the legend.
    color : matplotlib colour
        The colour of the points.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import Recording, SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 1]])})
    >>> ax = Figure().subplots()
    >>> cv_against_rate(recording.summarize(window=1), ax=ax)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['Poisson: 1', 'Bernoulli: √(1 − p)']
    """
    _against_rate("cv_isi", "√(1 − p)", summary, ax=ax, label=label, color=color)
    ax.set_ylabel("coefficient of variation of the intervals")


def _against_rate(
    name: str, of_bernoulli: str, summary: Summary, *, ax: Axes, label: str | None, color: Any
) -> None:
    require()
    if not ax.lines:
        p = np.linspace(0, 1, 101)[1:]
        statistic, bin_size = statistic_of(name), summary.time.bin_size
        ax.plot(p, statistic.poisson(p, bin_size), "--", color=LIGHT, label="Poisson: 1")
        ax.plot(p, statistic.bernoulli(p, bin_size), color="black", label=f"Bernoulli: {of_bernoulli}")
    p, values = summary.values["activation_probability"], summary.values[name]
    size = 9 if len(p) > FEW else 36
    ax.scatter(p, values, s=size, color=color, alpha=0.55, linewidths=0, label=label)
    ax.set(xlim=(0, 1), xlabel=axis_label("activation_probability"))
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.2, *1.05 * values[np.isfinite(values)]))
    ax.legend(edgecolor="none", framealpha=0.85, markerscale=2, loc="upper right")

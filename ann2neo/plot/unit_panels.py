"""Statistics of units, drawn on given Axes: the distribution of p, and other statistics against p."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from ..analysis.comparison import summarized
from ..recording.neurons import of_neurons
from ..recording.recording import Recording
from ..summary.remarks import few_windows
from ..summary.summary import Summary
from .style import COLOURS, LIGHT, axis_label, require, statistic_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


N_RATE_BINS = 25

FEW = 30
"""Up to this many units are drawn as larger points."""


def rates(
    summary: Summary | Recording, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]
) -> None:
    """Draw the distribution over units of the activation probability p, and so of the firing rate.

    With stimuli in random order, the spike train of one unit tells nothing beyond p. Networks differ in how p
    is distributed over units. The bottom axis is p, the top axis the rate, p / bin size, in spikes per second
    of pseudo-time, or of time where the recording is of neurons.

    Parameters
    ----------
    summary : Summary or Recording
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
    summary = summarized({"it": summary})["it"]
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
        text = axis_label("mean_firing_rate")
        top.set_xlabel(text.replace(" of pseudo-time", "") if of_neurons(summary.annotations) else text)


def fano_against_rate(
    summary: Summary | Recording, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]
) -> None:
    """Draw the Fano factor of each unit against p, beside memoryless processes.

    Over n windows, independent bins (Bernoulli) give (n − 1)/n · (1 − p), a Poisson process (n − 1)/n. A bin
    holds one spike at most, so the Bernoulli line is the one to compare with. If summaries with other windows
    are drawn on the same Axes, each has its own lines, and the legend names the windows of each.

    Parameters
    ----------
    summary : Summary or Recording
        Statistics of the units. Silent units have no Fano factor, and in a single window no unit has one.
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
    ['Poisson: 2/3', 'Bernoulli: 2/3 · (1 − p)', 'toy']
    """
    summary = summarized({"it": summary})["it"]
    n = summary.n_windows
    words = (f"{n - 1}/{n}", f"{n - 1}/{n} · (1 − p)") if n > 1 else None
    points = _against_rate("fano_factor", words, summary, ax=ax, label=label, color=color)
    _name_windows(ax, points, label, f"{n} window{'s' * (n != 1)} of {summary.window} bins")
    if n < 2:
        reason = few_windows(n, summary.window, summary.time.trial_bins)
        reason = textwrap.fill(reason if label is None else f"{label}: {reason}", 45)
        below = 0.05 + 0.2 * len(ax.texts)
        ax.text(0.05, below, reason, transform=ax.transAxes, color=color, va="bottom")


_WINDOWS: WeakKeyDictionary[Axes, list[tuple[Any, str | None, str]]] = WeakKeyDictionary()
"""The points that were drawn on Axes, their labels, and the windows of their Fano factors."""


def _name_windows(ax: Axes, points: Any, label: str | None, windows: str) -> None:
    """Name the windows beside the axis if all points have the same, else in the legend."""
    drawn = _WINDOWS.setdefault(ax, [])
    drawn.append((points, label, windows))
    if len({windows for _, _, windows in drawn}) == 1:
        ax.set_ylabel(f"Fano factor of spike counts\nin {windows}")
        return
    ax.set_ylabel("Fano factor of spike counts")
    for points, label, windows in drawn:
        points.set_label(windows if label is None else f"{label}: {windows}")
    _legend(ax)


def cv_against_rate(
    summary: Summary | Recording, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]
) -> None:
    """Draw the coefficient of variation of each unit's intervals against p, beside memoryless processes.

    Independent bins (Bernoulli) give √(1 − p), a Poisson process 1.

    Parameters
    ----------
    summary : Summary or Recording
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
    _against_rate("cv_isi", ("1", "√(1 − p)"), summary, ax=ax, label=label, color=color)
    ax.set_ylabel("coefficient of variation of the intervals")


def _against_rate(
    name: str,
    expected: tuple[str, str] | None,
    summary: Summary | Recording,
    *,
    ax: Axes,
    label: str | None,
    color: Any,
) -> Any:
    """Draw a statistic against p, and what a Poisson process and independent bins give, in these words."""
    require()
    summary = summarized({"it": summary})["it"]
    drawn = {line.get_label() for line in ax.lines}
    if expected is not None and f"Poisson: {expected[0]}" not in drawn:
        p = np.linspace(0, 1, 101)[1:]
        statistic, how = statistic_of(name), (summary.time.bin_size, summary.n_windows)
        ax.plot(p, statistic.poisson(p, *how), "--", color=LIGHT, label=f"Poisson: {expected[0]}")
        dashes: Any = "-" if not drawn else (0, (1, len(drawn)))
        label_of_line = f"Bernoulli: {expected[1]}"
        ax.plot(p, statistic.bernoulli(p, *how), color="black", linestyle=dashes, label=label_of_line)
    p, values = summary.values["activation_probability"], summary.values[name]
    size = 9 if len(p) > FEW else 36
    points = ax.scatter(p, values, s=size, color=color, alpha=0.55, linewidths=0, label=label)
    ax.set(xlim=(0, 1), xlabel=axis_label("activation_probability"))
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.2, *1.05 * values[np.isfinite(values)]))
    _legend(ax)
    return points


def _legend(ax: Axes) -> None:
    if ax.get_legend_handles_labels()[0]:
        ax.legend(edgecolor="none", framealpha=0.85, markerscale=2, loc="upper right")

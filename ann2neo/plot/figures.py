"""Recordings and their statistics, drawn on given Axes, and one figure of everything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.comparison import CAVEAT
from ..interop.extras import check_installed
from ..recording.recording import Recording
from ..summary.of_recording import summarize_recording
from ..summary.statistics import STATISTICS
from ..summary.summary import Summary

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that the colour-blind can tell apart (Okabe & Ito 2008), for one recording after the other."""

LIGHT = "#888888"

NOTE = (
    "A bin is one stimulus: p is the fraction of stimuli at which a unit is active. "
    "In random stimulus order, the Fano factor tells nothing beyond p."
)

N_RATE_BINS = 25

FEW = 30
"""Units that are drawn as larger points, not to be lost among many."""

RASTERS_ABREAST = 3


def require() -> None:
    """Raise an ImportError that says what to install, if the libraries that draw are missing."""
    check_installed("matplotlib", "viziphant", by="drawing", extra="plot")


def raster(
    recording: Recording,
    layer: str | None = None,
    *,
    ax: Axes,
    units: int = 100,
    bins: int = 300,
    color: Any = COLOURS[0],
) -> None:
    """Draw who spiked when: a row a unit, a dash a spike, by :func:`viziphant.rasterplot.rasterplot`.

    Rows are sorted within each layer, the most active unit on top. A memoryless unit gives dashes at
    random places of its row; a dark column is a stimulus at which many units are active.

    Parameters
    ----------
    recording : Recording
        The spikes.
    layer : str, optional
        Name or glob; by default all layers, the first at the bottom.
    ax : matplotlib.axes.Axes
        Where to draw.
    units : int
        Rows at most, shared equally by the layers: of each, units at equal steps from the most to the
        least active.
    bins : int
        Bins at most, from the start of the first trial.
    color : matplotlib colour
        Of the dashes.

    Raises
    ------
    ImportError
        If matplotlib or viziphant is not installed.
    ValueError
        If no layer matches, or there is no row or no bin to draw.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 1, 0]])})
    >>> ax = Figure().subplots()
    >>> raster(recording, ax=ax)
    >>> ax.get_xlabel(), [label.get_text() for label in ax.get_yticklabels()]
    ('pseudo-time (ms)', ['relu'])
    """
    require()
    from viziphant.rasterplot import rasterplot

    from ..interop.neo_block import to_neo

    if units < 1 or bins < 1:
        raise ValueError(f"units={units}, bins={bins}: give at least one of each")
    shown = recording.select(layers=layer, trials=0)
    rows = {
        name: _rows(of.dense().mean(axis=1), max(1, units // len(shown.layers)))
        for name, of in shown.rasters.items()
    }
    shown = shown.select(units={name: shown.rasters[name].units[r] for name, r in rows.items()})
    stop = min(bins, shown.n_bins) * recording.bin_size
    trains = [train.time_slice(None, stop) for train in to_neo(shown).segments[0].spiketrains]

    box = ax.get_window_extent()
    points = 72 / ax.figure.dpi
    length = 0.9 * box.height * points / len(trains)
    width = 0.5 * box.width * points / min(bins, shown.time.n_bins)
    if any(map(len, trains)):
        dash = {"marker": "|", "s": length**2, "linewidths": min(width, 1.5)}
        rasterplot([trains], axes=ax, color=[color], **dash)
    ends = np.cumsum([of.n_units for of in shown.rasters.values()])
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color=LIGHT, linewidth=0.8)
    _name_layers(ax, shown.layers, ends - np.diff(ends, prepend=0) / 2 - 0.5, box.height * points)
    ax.set(xlim=(0, stop.item()), ylim=(-0.5, len(trains) - 0.5), xlabel=_time_axis(recording))


def _name_layers(ax: Axes, layers: list[str], places: np.ndarray, height: float) -> None:
    """Write names of layers beside their rows: upright where they fit, else across and smaller."""
    room = height / len(layers)  # in points
    if max(map(len, layers)) * 6 <= room:
        style: dict[str, Any] = {"rotation": 90}
    else:
        style = {"fontsize": min(9, max(5, 0.75 * room))}
    step = int(np.ceil(6 / room))
    ax.set_yticks(places[::step], layers[::step], va="center", **style)
    ax.tick_params(axis="y", length=0)


def _one_bin_a_stimulus(recording: Recording) -> bool:
    return recording.stimuli is not None and len(recording.stimuli) == recording.n_bins


def _time_axis(recording: Recording) -> str:
    beat = f", one stimulus every {recording.time.bin_size:g} ms"
    return "pseudo-time (ms)" + beat * _one_bin_a_stimulus(recording)


def _rows(activity: np.ndarray, n: int) -> np.ndarray:
    """Choose n rows at equal steps, the least active first."""
    order = np.argsort(activity, kind="stable")
    return order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]


def rates(summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]) -> None:
    """Draw the distribution over units of the activation probability p, and so of the firing rate.

    With stimuli in random order p is all that the spike train of one unit tells; how it is distributed
    over units is what differs between networks. The bottom axis is p, the top axis the rate,
    p / bin size.

    Parameters
    ----------
    summary : Summary
        Statistics of the units.
    ax : matplotlib.axes.Axes
        Where to draw; draw several summaries on one to compare them.
    label : str, optional
        For the legend.
    color : matplotlib colour
        Of the line.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import SpikeRaster
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
    ax.set(xlim=(0, 1), xlabel=_axis("activation_probability"), ylabel="units (%)")
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.2 * heights.max()))
    if not ax.child_axes:
        per_p = 1e3 / summary.time.bin_size

        def rate(p: Any) -> Any:
            return p * per_p

        def probability(rate: Any) -> Any:
            return rate / per_p

        top = ax.secondary_xaxis("top", functions=(rate, probability))
        top.set_xlabel(_axis("mean_firing_rate"))


def fano_against_rate(
    summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]
) -> None:
    """Draw the Fano factor of each unit against p, with what memoryless processes would give.

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
        Of the points.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 1, 0]])})
    >>> ax = Figure().subplots()
    >>> fano_against_rate(recording.summarize(window=1), ax=ax, label="toy")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['Poisson: 1', 'Bernoulli: 1 − p', 'toy']
    """
    _against_rate("fano_factor", "1 − p", summary, ax=ax, label=label, color=color)
    ax.set_ylabel(f"Fano factor of spike counts in {summary.window} bins")


def cv_against_rate(summary: Summary, *, ax: Axes, label: str | None = None, color: Any = COLOURS[0]) -> None:
    """Draw the coefficient of variation of each unit's intervals against p, and what memoryless ones give.

    Independent bins (Bernoulli) give √(1 − p), a Poisson process 1.

    Parameters
    ----------
    summary : Summary
        Statistics of the units; those without interval have no CV.
    ax : matplotlib.axes.Axes
        Where to draw; draw several summaries on one to compare them.
    label : str, optional
        For the legend.
    color : matplotlib colour
        Of the points.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import SpikeRaster
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
        statistic, bin_size = _statistic(name), summary.time.bin_size
        ax.plot(p, statistic.poisson(p, bin_size), "--", color=LIGHT, label="Poisson: 1")
        ax.plot(p, statistic.bernoulli(p, bin_size), color="black", label=f"Bernoulli: {of_bernoulli}")
    p, values = summary.values["activation_probability"], summary.values[name]
    size = 9 if len(p) > FEW else 36
    ax.scatter(p, values, s=size, color=color, alpha=0.55, linewidths=0, label=label)
    ax.set(xlim=(0, 1), xlabel=_axis("activation_probability"))
    ax.set_ylim(0, max(ax.get_ylim()[1], 1.2, *1.05 * values[np.isfinite(values)]))
    ax.legend(edgecolor="none", framealpha=0.85, markerscale=2, loc="upper right")


def _statistic(name: str) -> Any:
    return next(s for s in STATISTICS if s.name == name)


def _axis(name: str) -> str:
    statistic = _statistic(name)
    text = f"{statistic.name.replace('_', ' ')}: {statistic.description}"
    return text + f" ({statistic.unit})" * bool(statistic.unit)


def indicators(
    table: pd.DataFrame,
    column: str,
    *,
    ax: Axes,
    layer: str = "network",
    label: str | None = None,
    color: Any = COLOURS[0],
) -> None:
    """Draw an indicator against the step of training, from the table of a Monitor or of a study.

    Parameters
    ----------
    table : pandas.DataFrame
        :attr:`Monitor.table`, or rows of ``Results.indicators`` of one cell: ``step`` or ``epoch``, ``layer``
        and the column.
    column : str
        What to draw, of any unit.
    ax : matplotlib.axes.Axes
        Where to draw; draw several on one to compare them.
    layer : str
        Of which layer.
    label : str, optional
        For the legend.
    color : matplotlib colour
        Of the line.

    Raises
    ------
    ValueError
        If the table has no such column or layer.

    Examples
    --------
    >>> import torch
    >>> from matplotlib.figure import Figure
    >>> from ann2neo import Monitor
    >>> monitor = Monitor(window=2)
    >>> for step in range(3):
    ...     _ = monitor.observe(torch.nn.ReLU(), torch.rand(10, 4) - 0.5 + step)
    >>> ax = Figure().subplots()
    >>> indicators(monitor.table, "mean_firing_rate_mean", ax=ax)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('step', 'mean firing rate mean')
    """
    require()
    steps = "step" if "step" in table else "epoch"
    for known, wanted, what in ((table, column, "column"), (set(table["layer"]), layer, "layer")):
        if wanted not in known:
            raise ValueError(f"no {what} {wanted!r}; the table has {', '.join(map(str, known))}")
    rows = table[table["layer"] == layer].sort_values(steps)
    ax.plot(rows[steps], rows[column], ".-", color=color, label=label, linewidth=1, markersize=4)
    ax.set(xlabel=steps, ylabel=column.replace("_", " "))


def overview(recordings: Mapping[str, Recording], *, window: int | None = None) -> Figure:
    """Draw recordings beside one another: rasters, distributions of rates, Fano factor against rate.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By name.
    window : int, optional
        Bins in a counting window, as for :meth:`Recording.summarize`.

    Returns
    -------
    matplotlib.figure.Figure
        Save it with ``figure.savefig("overview.png")``; 1440 pixels wide.

    Raises
    ------
    ImportError
        If matplotlib or viziphant is not installed.
    ValueError
        If there is no recording.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> figure = overview({"toy": Recording({"relu": SpikeRaster.from_dense([[1, 0, 1], [0, 1, 0]])})})
    >>> [axes.get_title() for axes in figure.axes]
    ['toy', 'Distribution over units', 'Fano factor of each unit']
    """
    require()
    from matplotlib.figure import Figure

    if not recordings:
        raise ValueError("there is no recording to draw")
    abreast = min(len(recordings), RASTERS_ABREAST)
    n_rows = -(-len(recordings) // abreast)
    figure = Figure(figsize=(12, 4 + 3.8 * n_rows), dpi=120, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.8 * n_rows, 4], hspace=0.04)
    above, below = parts
    axes = above.subplots(n_rows, abreast, squeeze=False).ravel()
    left, right = below.subplots(1, 2)
    for number, (name, recording) in enumerate(recordings.items()):
        color = COLOURS[number % len(COLOURS)]
        summary = summarize_recording(recording, window)
        raster(recording, ax=axes[number], units=75, bins=360 // abreast, color=color)
        axes[number].set_title(name, color=color, fontweight="bold")
        rates(summary, ax=left, label=name, color=color)
        fano_against_rate(summary, ax=right, color=color)
    for empty in axes[len(recordings) :]:
        empty.set_axis_off()
    left.set_title("Distribution over units")
    left.legend(frameon=False, loc="upper center", ncols=4)
    right.set_title("Fano factor of each unit")
    above.supylabel("units, the most active of each layer on top", fontsize="medium")
    if all(map(_one_bin_a_stimulus, recordings.values())):
        below.supxlabel(NOTE, fontsize="medium", color="#444444")
    return figure


def comparison(summaries: Mapping[str, Summary]) -> Figure:
    """Draw the statistics of networks and neurons over one another: rates, Fano factors, CVs of intervals.

    Parameters
    ----------
    summaries : mapping of str to Summary
        By name: see :func:`ann2neo.analysis.comparison.summarized`.

    Returns
    -------
    matplotlib.figure.Figure
        With :data:`ann2neo.analysis.comparison.CAVEAT` below it.

    Raises
    ------
    ImportError
        If matplotlib or viziphant is not installed.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 1]])})
    >>> figure = comparison({"toy": recording.summarize(window=2)})
    >>> [axes.get_title() for axes in figure.axes]
    ['Distribution over units', 'Fano factor of each unit', 'Intervals of each unit']
    """
    require()
    import textwrap

    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 5.8), dpi=120, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for number, (name, summary) in enumerate(summaries.items()):
        color = COLOURS[number % len(COLOURS)]
        rates(summary, ax=left, label=f"{name}, bins of {summary.bin_size:g} ms", color=color)
        fano_against_rate(summary, ax=middle, label=name, color=color)
        cv_against_rate(summary, ax=right, label=name, color=color)
    if len({summary.bin_size for summary in summaries.values()}) > 1:
        for axis in [*left.child_axes]:  # in Hz, which is of one bin size
            axis.remove()
    left.set_title("Distribution over units")
    left.legend(frameon=False, loc="upper center")
    middle.set_title("Fano factor of each unit")
    right.set_title("Intervals of each unit")
    figure.supxlabel(textwrap.fill(CAVEAT, 150), fontsize="medium", color="#444444")
    return figure

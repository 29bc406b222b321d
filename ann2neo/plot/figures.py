"""Whole figures, with their caveats below: recordings beside one another, networks beside neurons."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..analysis.caveats import BINS_OF_NEURONS, SHUFFLED, caveats_of
from ..analysis.comparison import check_named, summarized
from ..recording.neurons import of_neurons
from ..recording.recording import Recording
from ..summary.summary import Summary
from .raster_panel import one_bin_a_stimulus, raster
from .shown import new_figure
from .style import COLOURS, DARK, require
from .unit_panels import cv_against_rate, fano_against_rate, rates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NOTE = f"A bin is one stimulus: p is the fraction of stimuli at which a unit is active. {SHUFFLED}"

RASTERS_ABREAST = 3


def overview(recordings: Mapping[str, Recording], *, window: int | None = None) -> Figure:
    """Draw recordings beside one another: rasters, distributions of rates, Fano factor against rate.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By name.
    window : int, optional
        Bins in a counting window, the same for all; by default the longest that leaves 50 windows in each.

    Returns
    -------
    matplotlib.figure.Figure
        Notebooks and ``plt.show()`` show it. Save it with ``figure.savefig("overview.png")``; 1440 pixels
        wide.

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
    check_named(recordings)
    for name, each in recordings.items():
        if not isinstance(each, Recording):
            raise TypeError(
                f"{name!r} is a Summary, which keeps no spikes to draw: give its Recording, or draw "
                "statistics alone with plot.comparison"
            )
    summaries = summarized(recordings, window)
    mixed = len({summary.n_windows for summary in summaries.values()}) > 1
    abreast = min(len(recordings), RASTERS_ABREAST)
    n_rows = -(-len(recordings) // abreast)
    figure = new_figure(figsize=(12, 4 + 3.8 * n_rows), dpi=120, layout="constrained")
    parts: Any = figure.subfigures(2, 1, height_ratios=[3.8 * n_rows, 4], hspace=0.04)
    above, below = parts
    axes = above.subplots(n_rows, abreast, squeeze=False).ravel()
    left, right = below.subplots(1, 2)
    for number, (name, recording) in enumerate(recordings.items()):
        color = COLOURS[number % len(COLOURS)]
        summary = summaries[name]
        raster(recording, ax=axes[number], units=75, bins=360 // abreast, color=color)
        axes[number].set_title(name, color=color, fontweight="bold")
        rates(summary, ax=left, label=name, color=color)
        fano_against_rate(summary, ax=right, color=color, label=name if mixed else None)
    for empty in axes[len(recordings) :]:
        empty.set_axis_off()
    left.set_title("Distribution over units")
    left.legend(frameon=False, loc="upper center", ncols=4)
    right.set_title("Fano factor of each unit")
    above.supylabel("units, the most active of each layer on top", fontsize="medium")
    note = ""
    if all(map(one_bin_a_stimulus, recordings.values())):
        note = NOTE
    elif all(of_neurons(recording.annotations) for recording in recordings.values()):
        note = BINS_OF_NEURONS
    below.supxlabel(textwrap.fill(note, 120), fontsize="medium", color=DARK)
    return figure


def comparison(recordings: Mapping[str, Recording | Summary]) -> Figure:
    """Draw the statistics of networks and neurons over one another: rates, Fano factors, CVs of intervals.

    Parameters
    ----------
    recordings : mapping of str to Recording or Summary
        By name. Recordings are summarized: see :func:`ann2neo.analysis.comparison.summarized`.

    Returns
    -------
    matplotlib.figure.Figure
        With :func:`ann2neo.analysis.caveats.caveats_of` its recordings below it. Notebooks and ``plt.show()``
        show it.

    Raises
    ------
    ImportError
        If matplotlib or viziphant is not installed.
    TypeError, ValueError
        If there is no recording, or something else is given.

    Examples
    --------
    >>> from ann2neo import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 1]])})
    >>> figure = comparison({"toy": recording.summarize(window=2)})
    >>> [axes.get_title() for axes in figure.axes]
    ['Distribution over units', 'Fano factor of each unit', 'Intervals of each unit']
    """
    require()
    summaries = summarized(recordings)
    figure = new_figure(figsize=(15, 5.8), dpi=120, layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    for number, (name, summary) in enumerate(summaries.items()):
        color = COLOURS[number % len(COLOURS)]
        rates(summary, ax=left, label=f"{name}, bins of {summary.bin_size:g} ms", color=color)
        fano_against_rate(summary, ax=middle, label=name, color=color)
        cv_against_rate(summary, ax=right, label=name, color=color)
    if len({summary.bin_size for summary in summaries.values()}) > 1:
        for axis in [*left.child_axes]:  # in Hz, which depends on the size of a bin
            axis.remove()
    left.set_title("Distribution over units")
    left.legend(frameon=False, loc="upper center")
    middle.set_title("Fano factor of each unit")
    right.set_title("Intervals of each unit")
    note = caveats_of(summary.annotations for summary in summaries.values())
    figure.supxlabel(textwrap.fill(note, 150), fontsize="medium", color=DARK)
    return figure

"""Who spiked when, drawn on given Axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..recording.neurons import of_neurons
from ..recording.recording import Recording
from .style import COLOURS, DARK, LIGHT, require

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
        Most rows that are drawn, shared equally by the layers: in each layer, units at equal steps from the
        most to the least active.
    bins : int
        Most bins that are drawn, from the start of the first trial.
    color : matplotlib colour
        The colour of the dashes.

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
        raise ValueError(f"units={units}, bins={bins}: give at least one unit and one bin")
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
    else:
        ax.text(0.5, 0.5, "no spikes", transform=ax.transAxes, ha="center", va="center", color=DARK)
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


def one_bin_a_stimulus(recording: Recording) -> bool:
    """Return whether each bin of a recording shows a stimulus of its own."""
    return recording.stimuli is not None and len(recording.stimuli) == recording.n_bins


def _time_axis(recording: Recording) -> str:
    beat = f", one stimulus every {recording.time.bin_size:g} ms"
    if of_neurons(recording.annotations):
        return f"time (ms), bins of {recording.time.bin_size:g} ms"
    return "pseudo-time (ms)" + beat * one_bin_a_stimulus(recording)


def _rows(activity: np.ndarray, n: int) -> np.ndarray:
    """Choose n rows at equal steps, the least active first."""
    order = np.argsort(activity, kind="stable")
    chosen: np.ndarray = order[np.linspace(0, len(order) - 1, min(n, len(order))).round().astype(int)]
    return chosen

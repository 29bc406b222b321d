"""Indicators along training, drawn on given Axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .style import COLOURS, require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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
        The column to draw.
    ax : matplotlib.axes.Axes
        Where to draw; draw several on one to compare them.
    layer : str
        The layer to draw.
    label : str, optional
        For the legend.
    color : matplotlib colour
        The colour of the line.

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

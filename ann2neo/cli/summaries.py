"""Printing a summary, and saving it with its tables."""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from ..summary.summary import Summary


def table_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--units-table`` and ``--layers-table``."""
    parser.add_argument("--units-table", metavar="FILE", help="save the table of all units: .parquet or .csv")
    parser.add_argument("--layers-table", metavar="FILE", help="save the table of layers: .parquet or .csv")


def check_outputs(args: argparse.Namespace, output: str | None = None) -> None:
    """Raise before the work is done if the summary or a table cannot be saved."""
    from ..files.tables import check_can_be_tabled
    from ..interop.atomic import check_can_be_written
    from ..summary.npz import check_can_be_kept

    if output is not None:
        check_can_be_kept(Path(output))
        check_can_be_written(output, overwrite=args.overwrite)
    for table in filter(None, (args.units_table, args.layers_table)):
        check_can_be_tabled(table, overwrite=args.overwrite)


def save_and_show(
    summary: Summary, args: argparse.Namespace, source: str = "", output: str | None = None
) -> None:
    """Save a summary and its tables where they were asked for, then print it.

    Parameters
    ----------
    summary : Summary
        The statistics.
    args : argparse.Namespace
        Names the files of the tables, and whether to overwrite them.
    source : str
        What to print before the summary: where it comes from.
    output : str, optional
        The file for the summary itself. It is written first, since making tables takes memory.
    """
    from ..analysis.poisson import fit_poisson
    from ..files.tables import save_table
    from ..summary.remarks import Remark
    from .text import report

    warnings.simplefilter("ignore", Remark)  # they are printed below
    saved = []
    if output is not None:
        saved.append(summary.save(output))
    fit = fit_poisson(summary)
    for path, ours, of_fit in (
        (args.units_table, summary.units, fit.units),
        (args.layers_table, summary.layers, fit.layers),
    ):
        if path is not None:
            saved.append(save_table(_with_new_columns(ours, of_fit), path, overwrite=args.overwrite))
    print(f"{source}{summary!r}")
    if partial := covered(summary):
        print(partial)
    if saved:
        print("saved as", ", ".join(map(str, saved)))
    print(f"\n{report(summary, fit, summary.annotations.get('shuffled'))}")


def covered(summary: Summary) -> str:
    """Return which bins a summary covers, or nothing if it covers the whole presentation."""
    planned = sum(summary.trial_bins) if isinstance(summary.trial_bins, tuple) else summary.stop
    if summary.start == 0 and summary.stop == planned:
        return ""
    return f"bins {summary.start} to {summary.stop - 1} of {planned}"


def _with_new_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    return table.join(more[[name for name in more.columns if name not in table.columns]])

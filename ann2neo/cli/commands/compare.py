"""``ann2neo compare``."""

from __future__ import annotations

import argparse
import textwrap
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..command import Command, overwrite_option, window_option
from ..errors import with_options
from ..files import by_name, file_options, open_either

if TYPE_CHECKING:
    import pandas as pd

    from ...summary.summary import Summary

COLUMNS = {
    "recording": "recording",
    "layer": "layer",
    "n_units": "units",
    "bin_size": "bin (ms)",
    "mean_firing_rate_mean": "rate (Hz)",
    "activation_probability_mean": "p",
    "dead_fraction": "dead",
    "fano_factor_mean": "Fano",
    "relative_fano_factor_mean": "relative",
    "cv_isi_mean": "CV",
    "relative_cv_isi_mean": "CV/√(1−p)",
    "poisson_dispersion_rejected": "≠ Poisson",
    "binomial_dispersion_rejected": "≠ Bernoulli",
    "runs_rejected": "runs",
}
"""The columns that are printed, and their short names."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="recordings, summaries (.npz), or any files that Neo reads"
    )
    parser.add_argument("-o", "--output", help="figure: .png, .pdf, .svg …")
    parser.add_argument("--table", metavar="FILE", help="the table, with all columns: .csv or .parquet")
    window_option(parser)
    file_options(parser)
    overwrite_option(parser)


def _compare(args: argparse.Namespace) -> int:
    from ...analysis.caveats import caveats_of
    from ...analysis.comparison import compare, summarized
    from ...files.tables import check_can_be_tabled, save_table
    from ...interop.atomic import check_can_be_written
    from ...plot import comparison, require
    from ...plot.shown import save_figure
    from ...summary.remarks import Remark

    if args.output is not None:
        require()
        check_can_be_written(args.output, overwrite=args.overwrite)
    if args.table is not None:
        check_can_be_tabled(args.table, overwrite=args.overwrite)
    opened = {name: open_either(file, args) for name, file in by_name(args.files).items()}
    summaries = summarized(opened, args.window)
    warnings.simplefilter("ignore", Remark)  # they are printed below
    table = compare(summaries)
    saved = []
    if args.table is not None:
        saved.append(f"saved as {save_table(table, args.table, overwrite=args.overwrite)}")
    if args.output is not None:
        save_figure(comparison(summaries), args.output)
        saved.append(f"drawn in {args.output}")
    print(_in_short(table, summaries))
    if len(set(table["bin_size"])) > 1:
        sizes = ", ".join(f"{name} {each.bin_size:g} ms" for name, each in summaries.items())
        print(f"\nthe bins differ in size: {sizes}; choose those of neurons with --bin-size")
    notes = [
        f"NOTE: {name}: {with_options(remark, ['window'])}"
        for name, each in summaries.items()
        for remark in each.remarks
    ]
    if notes:
        print()
    for note in notes:
        print(textwrap.fill(note, 98, subsequent_indent="      "))
    caveats = caveats_of(summary.annotations for summary in summaries.values())
    print(f"\n{textwrap.fill(caveats, 98)}")
    print(*saved, sep="\n")
    return 0


def _in_short(table: pd.DataFrame, summaries: Mapping[str, Summary]) -> str:
    """Return a table as text, its columns under short names."""
    shown = table[list(COLUMNS)].rename(columns=COLUMNS)
    text = shown.to_string(index=False, float_format="{:.3g}".format, na_rep="–")
    windows = ", ".join(f"{name} {each.n_windows} of {each.window} bins" for name, each in summaries.items())
    about = (
        f"means over units; windows of counts: {windows}; relative: Fano factor over the (n−1)/n·(1−p) of "
        "independent bins; fractions of units whose counts are rejected as Poisson and as Bernoulli, or "
        "whose order of spikes is rejected as random (runs; q < 0.05)"
    )
    return f"{textwrap.fill(about, 98)}\n\n{text}"


COMPARE = Command(
    "compare",
    "put the statistics of networks and neurons into one table and one figure",
    ("ann2neo compare resnet18.nwb neurons.nix --bin-size 2 --output both.png --table both.csv",),
    _add_options,
    _compare,
)

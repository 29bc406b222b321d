"""``ann2neo compare``."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

from ..command import Command, overwrite_option, window_option
from ..files import file_options, open_recordings

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = {
    "recording": "recording",
    "layer": "layer",
    "n_units": "units",
    "bin_size": "bin (ms)",
    "mean_firing_rate_mean": "rate (Hz)",
    "activation_probability_mean": "p",
    "dead_fraction": "dead",
    "fano_factor_mean": "Fano",
    "relative_fano_factor_mean": "Fano/(1−p)",
    "cv_isi_mean": "CV",
    "relative_cv_isi_mean": "CV/√(1−p)",
    "poisson_dispersion_rejected": "≠ Poisson",
    "binomial_dispersion_rejected": "≠ Bernoulli",
    "runs_rejected": "runs",
}
"""The columns that are printed, and their short names."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or any files that Neo reads")
    parser.add_argument("-o", "--output", help="figure: .png, .pdf, .svg …")
    parser.add_argument("--table", metavar="FILE", help="the table, with all columns: .csv or .parquet")
    window_option(parser)
    file_options(parser)
    overwrite_option(parser)


def _compare(args: argparse.Namespace) -> int:
    from ...analysis.caveats import NETWORKS_AND_NEURONS
    from ...analysis.comparison import compare, summarized
    from ...files.tables import check_can_be_tabled, save_table
    from ...interop.atomic import check_can_be_written
    from ...plot import comparison, require

    if args.output is not None:
        require()
        check_can_be_written(args.output, overwrite=args.overwrite)
    if args.table is not None:
        check_can_be_tabled(args.table, overwrite=args.overwrite)
    summaries = summarized(open_recordings(args.files, args), args.window)
    table = compare(summaries)
    print(_in_short(table))
    if len(set(table["bin_size"])) > 1:
        sizes = ", ".join(f"{name} {each.bin_size:g} ms" for name, each in summaries.items())
        print(f"\nthe bins differ in size: {sizes}; choose those of neurons with --bin-size")
    print(f"\n{textwrap.fill(NETWORKS_AND_NEURONS, 98)}")
    if args.table is not None:
        print("saved as", save_table(table, args.table, overwrite=args.overwrite))
    if args.output is not None:
        comparison(summaries).savefig(args.output)
        print("drawn in", args.output)
    return 0


def _in_short(table: pd.DataFrame) -> str:
    """Return a table as text, its columns under short names."""
    shown = table[list(COLUMNS)].rename(columns=COLUMNS)
    text = shown.to_string(index=False, float_format="{:.3g}".format, na_rep="–")
    return (
        f"means over units, counts in windows of {table['window'].iloc[0]} bins; fractions of units whose "
        "counts are rejected as Poisson and as Bernoulli, or whose order of spikes is rejected as random "
        f"(runs; q < 0.05)\n\n{text}"
    )


COMPARE = Command(
    "compare",
    "put the statistics of networks and neurons into one table and one figure",
    ("ann2neo compare resnet18.nwb neurons.nix --bin-size 2 --output both.png --table both.csv",),
    _add_options,
    _compare,
)

"""``ann2neo plot``."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..command import Command, overwrite_option, window_option
from ..files import by_name, file_options, is_summary, open_recording


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="recordings, or any files that Neo reads")
    parser.add_argument("-o", "--output", help="figure: .png, .pdf, .svg … (default: FILE.png)")
    window_option(parser)
    file_options(parser)
    overwrite_option(parser)


def _plot(args: argparse.Namespace) -> int:
    from ...interop.atomic import check_can_be_written
    from ...plot import overview, require
    from ...plot.shown import save_figure

    require()
    for file in filter(is_summary, args.files):
        raise ValueError(
            f"{file} is a summary, which keeps no spikes to draw: ann2neo compare {file} -o figure.png draws "
            "its statistics"
        )
    output = Path(args.output or Path(args.files[0]).with_suffix(".png"))
    check_can_be_written(output, overwrite=args.overwrite)
    recordings = {name: open_recording(file, args) for name, file in by_name(args.files).items()}
    save_figure(overview(recordings, window=args.window), output)
    print(output)
    return 0


PLOT = Command(
    "plot",
    "draw recordings: rasters, distributions of rates, Fano factors",
    ("ann2neo plot untrained.nwb trained.nwb --output both.png",),
    _add_options,
    _plot,
)

"""``ann2neo merge``."""

from __future__ import annotations

import argparse

from ..command import Command, overwrite_option
from ..errors import say
from ..summaries import check_outputs, covered, save_and_show, table_options


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="summaries (.npz), in any order")
    parser.add_argument("-o", "--output", help="save the merged summary: .npz")
    table_options(parser)
    overwrite_option(parser)


def _merge(args: argparse.Namespace) -> int:
    from ...summary.parts import merge_files

    check_outputs(args, args.output)
    summary = merge_files(args.files)
    if partial := covered(summary):
        say(f"warning: parts are missing: the files cover {partial}")
    save_and_show(summary, args, output=args.output)
    return 0


MERGE = Command(
    "merge",
    "merge the summaries of parts that ann2neo stream --part has made",
    ("ann2neo merge part-*.npz -o whole.npz --units-table units.parquet",),
    _add_options,
    _merge,
)

"""``ann2neo summarize``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..command import Command, overwrite_option, window_option
from ..files import file_options, is_summary, open_recording
from ..summaries import check_outputs, save_and_show, table_options


class _NowStream(argparse.Action):
    """Names the command that has taken over an option of this one."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, *given: Any) -> None:
        parser.exit(
            2,
            "ann2neo: error: summarize reads files and has no --model: for a network give the same options "
            "to ann2neo stream\n",
        )


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="+",
        metavar="FILE",
        help="recordings (.nwb, .nix, .pkl, .mat, or any file that Neo reads) and summaries (.npz)",
    )
    parser.add_argument("--model", nargs="?", action=_NowStream, help=argparse.SUPPRESS)
    table_options(parser)
    overwrite_option(parser)
    recordings = parser.add_argument_group("recordings", "A summary (.npz) is printed as it was made.")
    window_option(recordings)
    recordings.add_argument(
        "--engine",
        choices=("raster", "elephant"),
        help="elephant calls Elephant's functions, for the same values (default: raster)",
    )
    file_options(recordings)


def _summarize(args: argparse.Namespace) -> int:
    from ...summary.of_recording import summarize_recording
    from ...summary.summary import Summary

    _check_options(args)
    check_outputs(args)
    for i, file in enumerate(args.files):
        if i:
            print()
        if is_summary(file):
            save_and_show(Summary.load(file), args, f"{file}: ")
        else:
            recording = open_recording(file, args)
            engine = args.engine or "raster"
            summary = summarize_recording(recording, args.window, engine, progress=sys.stderr.isatty())
            save_and_show(summary, args, f"{file}: {recording!r}\n")
    return 0


def _check_options(args: argparse.Namespace) -> None:
    """Raise if an option cannot hold for all the files."""
    for option, table in (("--units-table", args.units_table), ("--layers-table", args.layers_table)):
        if table is not None and len(args.files) > 1:
            raise ValueError(f"{option} {table} holds one file, but you named {len(args.files)}: name one")
    saved = next(filter(is_summary, args.files), None)
    for option, value in (
        ("--window", args.window),
        ("--engine", args.engine),
        ("--bin-size", args.bin_size),
        ("--block", args.block),
        ("--trust", args.trust or None),
    ):
        if saved is not None and value is not None:
            raise ValueError(
                f"{option} is for recordings, but {saved} is a summary, which cannot be made anew: leave "
                f"{option} out"
            )


SUMMARIZE = Command(
    "summarize",
    "print the statistics of units, layer by layer, from files of recordings and summaries",
    (
        "ann2neo summarize resnet18.nwb --window 50 --units-table units.csv",
        "ann2neo summarize untrained.nwb trained.nwb resnet50.npz",
        "to summarize a network without recording it: ann2neo stream --help",
    ),
    _add_options,
    _summarize,
)

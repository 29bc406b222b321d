"""``ann2neo convert``."""

from __future__ import annotations

import argparse

from ..command import Command, overwrite_option
from ..files import file_options, open_recording


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", help="a recording: .nwb, .nix, .pkl, .mat, or any file that Neo reads")
    parser.add_argument("output", help="the new file; its suffix (.nwb, .nix, .pkl, .mat) names the format")
    file_options(parser)
    overwrite_option(parser)


def _convert(args: argparse.Namespace) -> int:
    from ...files.save_load import check_can_be_saved, save

    check_can_be_saved(args.output, overwrite=args.overwrite)
    recording = open_recording(args.input, args)
    print(f"{save(recording, args.output, overwrite=args.overwrite)}: {recording!r}")
    return 0


CONVERT = Command(
    "convert",
    "save a recording in another format",
    ("ann2neo convert resnet18.nwb resnet18.mat",),
    _add_options,
    _convert,
)

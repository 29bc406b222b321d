"""Recordings in files: the options that say how to open them, and opening them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recording.recording import Recording
    from ..summary.summary import Summary


def file_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--trust``, ``--bin-size`` and ``--block``."""
    parser.add_argument("--trust", action="store_true", help="open .pkl files, which can run any code")
    parser.add_argument(
        "--bin-size", type=float, metavar="MS", help="length of a bin, for files that ann2neo did not save"
    )
    parser.add_argument(
        "--block", type=int, metavar="N", help="which Block to read if a file holds several, counted from 0"
    )


def open_recording(file: str, args: argparse.Namespace) -> Recording:
    """Open a recording; one that ann2neo did not save is divided into bins of ``--bin-size``."""
    from ..files.save_load import NotBinned, load

    try:
        return load(file, block=args.block, trust=args.trust)
    except NotBinned:
        if args.bin_size is None:
            raise
        return load(file, bin_size=args.bin_size, block=args.block, trust=args.trust)


def is_summary(file: str) -> bool:
    """Return whether a file is a summary, by its name."""
    return file.lower().endswith(".npz")


def open_either(file: str, args: argparse.Namespace) -> Recording | Summary:
    """Open a recording or a summary."""
    from ..summary.summary import Summary

    return Summary.load(file) if is_summary(file) else open_recording(file, args)


def by_name(files: list[str]) -> dict[str, str]:
    """Return files by their names, without folder and suffix if these names differ.

    Examples
    --------
    >>> by_name(["a/one.nwb", "b/two.npz"]), by_name(["a/one.nwb", "b/one.nwb"])
    ({'one': 'a/one.nwb', 'two': 'b/two.npz'}, {'a/one.nwb': 'a/one.nwb', 'b/one.nwb': 'b/one.nwb'})
    """
    names = [Path(file).stem for file in files]
    return dict(zip(names if len(set(names)) == len(names) else files, files, strict=True))

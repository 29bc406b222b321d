"""``ann2neo info``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..command import Command
from ..errors import with_options
from ..files import file_options, open_either
from ..summaries import covered

if TYPE_CHECKING:
    from ...recording.recording import Recording
    from ...summary.summary import Summary


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", help="a recording (.nwb, .nix, .pkl, .mat, or any file that Neo reads) or a summary (.npz)"
    )
    file_options(parser)


def _info(args: argparse.Namespace) -> int:
    from ...summary.remarks import all_or_nothing
    from ...summary.summary import Summary

    recording = open_either(args.file, args)
    size = f" ({os.path.getsize(args.file) / 1e6:.2f} MB)" if os.path.isfile(args.file) else ""
    print(f"{args.file}{size}: {recording!r}")
    if isinstance(recording, Summary):
        return _about_summary(recording)
    print(f"trials of {_range(recording.time.trial_bins)} bins; {_about_stimuli(recording)}\n")
    width = max(len(name) for name in ["layer", *recording.layers])
    print(f"{'layer':{width}}  {'units':>8}  {'of shape':<16}{'spikes':>12}  threshold")
    for name, raster in recording.rasters.items():
        cells = f"{raster.n_units:>8}  {' × '.join(map(str, raster.shape)):<16}{raster.n_spikes:>12}"
        print(f"{name:{width}}  {cells}  {_range(raster.threshold)}")
    for name, raster in recording.rasters.items():
        if remark := all_or_nothing(name, raster.n_spikes, raster.n_units * raster.n_bins):
            print(f"NOTE: {remark}")
    _annotations(recording)
    return 0


def _about_summary(summary: Summary) -> int:
    print(covered(summary) or f"trials of {_range(summary.time.trial_bins)} bins", end="\n\n")
    n_units = summary.places.groupby("layer", sort=False).size()
    width = max(len(name) for name in ["layer", *n_units.index])
    print(f"{'layer':{width}}  {'units':>8}  {'of shape':<16}{'spikes':>12}")
    for name, n_spikes in summary.n_spikes.items():
        shape = " × ".join(map(str, summary.shapes[name]))
        print(f"{name:{width}}  {n_units[name]:>8}  {shape:<16}{n_spikes:>12}")
    for remark in summary.remarks:
        print(f"NOTE: {with_options(remark, ['window'])}")
    _annotations(summary)
    return 0


def _annotations(of: Recording | Summary) -> None:
    print("\nannotations")
    for key, value in of.annotations.items():
        print(f"  {key}: {value}")


def _range(values: Iterable[float]) -> str:
    values = list(values)
    low, high = min(values), max(values)
    if low != low:
        return "unknown"
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _about_stimuli(recording: Recording) -> str:
    stimuli = recording.stimuli
    if stimuli is None:
        return "no stimuli"
    if stimuli.labels is None:
        return f"{len(stimuli)} stimuli without labels"
    known = sorted(set(stimuli.labels.tolist()))
    more = ", …" if len(known) > 10 else ""
    return f"{len(stimuli)} stimuli with {len(known)} labels: {', '.join(map(str, known[:10]))}{more}"


INFO = Command(
    "info",
    "print what a recording or a summary holds",
    ("ann2neo info resnet18.nwb",),
    _add_options,
    _info,
)

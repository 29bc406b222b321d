"""``ann2neo info``."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable

from ...recording.recording import Recording
from ...summary.remarks import all_or_nothing
from ..command import Command
from ..files import file_options, open_recording


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a recording: .nwb, .nix, .pkl, .mat, or any file that Neo reads")
    file_options(parser)


def _info(args: argparse.Namespace) -> int:
    recording = open_recording(args.file, args)
    size = f" ({os.path.getsize(args.file) / 1e6:.2f} MB)" if os.path.isfile(args.file) else ""
    print(f"{args.file}{size}: {recording!r}")
    print(f"trials of {_range(recording.time.trial_bins)} bins; {_about_stimuli(recording)}\n")
    width = max(len(name) for name in ["layer", *recording.layers])
    print(f"{'layer':{width}}  {'units':>8}  {'of shape':<16}{'spikes':>12}  threshold")
    for name, raster in recording.rasters.items():
        cells = f"{raster.n_units:>8}  {' × '.join(map(str, raster.shape)):<16}{raster.n_spikes:>12}"
        print(f"{name:{width}}  {cells}  {_range(raster.threshold)}")
    for name, raster in recording.rasters.items():
        if remark := all_or_nothing(name, raster.n_spikes, raster.n_units * raster.n_bins):
            print(f"NOTE: {remark}")
    print("\nannotations")
    for key, value in recording.annotations.items():
        print(f"  {key}: {value}")
    return 0


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
    "print what a recording holds",
    ("ann2neo info resnet18.nwb",),
    _add_options,
    _info,
)

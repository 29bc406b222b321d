"""``ann2neo record``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..command import Command, overwrite_option
from ..errors import in_words, say
from ..network import load_network, load_stimuli, network_options, origin, read_threshold


def _add_options(parser: argparse.ArgumentParser) -> None:
    network_options(parser)
    parser.add_argument("-o", "--output", required=True, help="a .nwb, .nix, .pkl or .mat file")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="how much memory the spikes may take, such as 4GB; a unit takes one bit for each stimulus, and "
        "what does not fit goes to a file",
    )
    parser.add_argument("--spill-to", metavar="FOLDER", help="folder of that file (default: as the output)")
    overwrite_option(parser)


def _record(args: argparse.Namespace) -> int:
    from ...files.save_load import check_can_be_saved, save
    from ...model.recorder import record
    from ...model.runs.partial import RecordingError
    from ...summary.remarks import all_or_nothing

    check_can_be_saved(args.output, overwrite=args.overwrite)
    if args.spill_to is not None and args.memory is None:
        raise ValueError("--spill-to is for spikes that exceed --memory: give --memory, too")
    threshold = read_threshold(args.threshold)
    model, prepare = load_network(args)
    stimuli, calibration = load_stimuli(args, prepare, threshold)
    status = 0
    try:
        recording = record(
            model,
            stimuli,
            args.layers,
            units=args.units,
            threshold=threshold,
            calibration=calibration,
            bin_size=args.bin_size,
            n_trials=args.trials,
            time_dim=args.time_dim,
            channel_dim=args.channel_dim,
            ids=stimuli.ids,
            array_annotations=stimuli.array_annotations,
            batch_size=args.batch_size,
            device=args.device,
            progress=sys.stderr.isatty(),
            seed=args.seed,
            allow_nan=args.allow_nan,
            memory=args.memory,
            spill_to=args.spill_to or Path(args.output).parent,
            annotations=origin(args, stimuli),
        )
    except RecordingError as error:
        say(f"error: {in_words(error.__cause__ or error, vars(args))}")
        recording, status = error.recording, 1
    if status == 0 and recording.annotations.get("interrupted"):
        status = 130
    path = save(recording, args.output, overwrite=args.overwrite)
    if status:
        assert recording.stimuli is not None
        say(f"{path} holds the {len(recording.stimuli)} of {len(stimuli)} stimuli recorded before that")
    print(f"{path}: {recording!r}")
    for name, raster in recording.rasters.items():
        if remark := all_or_nothing(name, raster.n_spikes, raster.n_units * raster.n_bins):
            print(f"NOTE: {remark}")
    return status


RECORD = Command(
    "record",
    "show stimuli to a network and save which units spike",
    (
        "ann2neo record --model resnet18 --data fashion-mnist --units 200 --stimuli 2000 \\",
        "    --output resnet18.nwb",
        "ann2neo record --model mypackage.models:trained --data images/ --size 224 \\",
        "    --layers 'block*.relu' --threshold quantile:0.9 --output mine.nix",
    ),
    _add_options,
    _record,
)

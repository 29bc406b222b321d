"""The commands that run a network, and the arguments they share."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import CALIBRATION, SIZE
from .errors import _in_words, _refuse, _say

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..study.data import Preparation, StimulusSet
    from ..summary.parts import Process


def _record(args: argparse.Namespace) -> int:
    from ..files.save_load import check_can_be_saved, save
    from ..model.partial import RecordingError
    from ..model.recorder import record

    check_can_be_saved(args.output, overwrite=args.overwrite)
    if args.memory is None:
        _refuse(args, ["spill_to"], "is for what exceeds --memory: give that, too")
    threshold = _threshold(args.threshold)
    model, prepare = _model(args)
    stimuli, calibration = _stimuli(args, prepare, by_rule=not isinstance(threshold, float))
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
            ids=stimuli.ids,
            array_annotations=stimuli.array_annotations,
            batch_size=args.batch_size,
            device=args.device,
            progress=sys.stderr.isatty(),
            seed=args.seed,
            allow_nan=args.allow_nan,
            memory=args.memory,
            spill_to=args.spill_to or Path(args.output).parent,
            annotations=_origin(args, stimuli),
        )
    except RecordingError as error:
        _say(f"error: {_in_words(error.__cause__ or error)}")
        recording, status = error.recording, 1
    if status == 0 and recording.annotations.get("interrupted"):
        status = 130
    path = save(recording, args.output, overwrite=args.overwrite)
    if status:
        assert recording.stimuli is not None
        _say(f"the {len(recording.stimuli)} of {len(stimuli)} stimuli recorded until then are in {path}")
    print(f"{path}: {recording!r}")
    return status


def _threshold(text: str) -> Any:
    from ..recording.threshold import Quantile, ZScore

    rules: dict[str, Any] = {"": float, "quantile": Quantile, "zscore": ZScore}
    rule, _, number = text.rpartition(":")
    try:
        value = float(number)
        make = rules[rule]
    except (ValueError, KeyError):
        raise ValueError(f"--threshold {text}: give a number, quantile:0.9 or zscore:2") from None
    return make(value)


def _model(args: argparse.Namespace) -> tuple[nn.Module, Preparation]:
    """Return the model, and what is done to stimuli before they are shown to it."""
    from ..study.data import Preparation
    from .models import load_model

    if args.as_is and (args.size or args.channels):
        raise ValueError("--as-is leaves the stimuli as they are: give no --size and no --channels")
    model, weights = load_model(args.model, weights=args.weights, seed=args.seed)
    if args.as_is:
        return model, Preparation()
    if ":" in args.model:
        return model, Preparation(size=args.size, channels=args.channels)
    if weights is not None:
        size = {} if args.size is None else {"crop_size": args.size, "resize_size": args.size}
        return model, Preparation(channels=3, transform=weights.transforms(**size))
    size = args.size or getattr(model, "image_size", SIZE)
    return model, Preparation(size=size, channels=args.channels or 3, normalize=True)


def _stimuli(
    args: argparse.Namespace, prepare: Preparation, by_rule: bool
) -> tuple[StimulusSet, StimulusSet | None]:
    """Return the stimuli to show and, for threshold rules, others to calibrate on."""
    from ..study.data import load_data

    data = load_data(
        args.data,
        root=args.root,
        download=args.download,
        split=args.split,
        shuffle=not args.no_shuffle,
        seed=args.seed,
        prepare=prepare,
    )
    if args.calibration is not None and not by_rule:
        raise ValueError(f"--calibration {args.calibration}: a number as --threshold is not calibrated")
    n_calibration = (args.calibration or CALIBRATION) if by_rule else 0
    n_stimuli = len(data) - n_calibration if args.stimuli is None else args.stimuli
    for option, number in (("--stimuli", args.stimuli), ("--calibration", args.calibration)):
        if number is not None and number < 1:
            raise ValueError(f"{option} {number}: give at least one")
    if n_stimuli < 1 or n_stimuli + n_calibration > len(data):
        and_calibration = f" and --calibration {n_calibration}" if n_calibration else ""
        raise ValueError(
            f"--stimuli {args.stimuli or 'all'}{and_calibration}, but {args.data} has {len(data)} stimuli"
        )
    if args.trials > n_stimuli:
        raise ValueError(f"--trials {args.trials}, but only {n_stimuli} stimuli are to be shown")
    return data[:n_stimuli], data[n_stimuli : n_stimuli + n_calibration] if by_rule else None


def _origin(args: argparse.Namespace, stimuli: StimulusSet) -> dict[str, Any]:
    """Return the annotations that say where a recording came from."""
    told = {
        "model": args.model,
        "weights": args.weights or (None if ":" in args.model else "random"),
        "dataset": args.data,
        "split": args.split,
        "stimulus_shape": list(stimuli.shape),
        "shuffled": not args.no_shuffle,
        "classes": list(stimuli.classes) or None,
        "autocast": "bfloat16" if getattr(args, "amp", False) else None,
        "memory_format": "channels_last" if getattr(args, "channels_last", False) else None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _precision(args: argparse.Namespace, model: nn.Module, process: Process) -> torch.autocast:
    """Lay the model out as asked for, and return what it is to be run in."""
    import torch

    if args.channels_last:
        if not any(parameter.ndim == 4 for parameter in model.parameters()):
            raise ValueError(f"--channels-last: {args.model} has no weights of two-dimensional convolutions")
        model.to(memory_format=torch.channels_last)
    home = next((parameter.device for parameter in model.parameters()), "cpu")
    where = torch.device(process.device or home)
    return torch.autocast(where.type, torch.bfloat16, enabled=args.amp)

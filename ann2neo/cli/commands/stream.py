"""``ann2neo stream``: the statistics of a network's units, added up while stimuli stream through it."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..command import Command, overwrite_option, window_option
from ..errors import in_words, say
from ..network import load_network, load_stimuli, network_options, origin, read_threshold
from ..summaries import check_outputs, save_and_show, table_options

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ...summary.processes import Process
    from ...summary.summary import Summary


def _add_options(parser: argparse.ArgumentParser) -> None:
    window_option(parser)
    table_options(parser)
    parser.add_argument("-o", "--output", help="save the summary, which can be merged with others: .npz")
    overwrite_option(parser)
    network_options(parser)
    running = parser.add_argument_group(
        "running the network",
        "Under torchrun each process shows a part of the stimuli, with --device cuda on a GPU of its own.",
    )
    running.add_argument(
        "--amp", action="store_true", help="run the network in bfloat16 where torch.autocast allows it"
    )
    running.add_argument("--channels-last", action="store_true", help="lay feature maps out in this order")
    running.add_argument(
        "--backend",
        choices=("portable", "compiled", "fused"),
        help="what adds up the spikes (default: the fastest for the device)",
    )
    running.add_argument(
        "--isi-histogram", action="store_true", help="count intervals by length, to test them (2 kB a unit)"
    )
    running.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="write a .npz file once a minute; the same command goes on from it (under torchrun each process "
        "writes its own)",
    )
    running.add_argument(
        "--part",
        metavar="I/N",
        help="show only the Ith of N parts of the stimuli, from 1/N to N/N; ann2neo merge puts them together",
    )


def _stream(args: argparse.Namespace) -> int:
    from ...summary.processes import merge_ranks, process_group

    with process_group(args.device) as process:
        if process.is_first:
            check_outputs(args, args.output)
        summary, status = _stream_part(args, process)
        if process.n_ranks > 1:
            if status == 130:
                raise KeyboardInterrupt
            if status:
                raise RuntimeError("the part of this process is incomplete")
            summary = merge_ranks(summary)
    if summary is None:
        return 0
    if status:
        say(f"the statistics cover the {summary.n_bins} bins added up before that")
    save_and_show(summary, args, f"{args.model}: ", args.output)
    return status


def _stream_part(args: argparse.Namespace, process: Process) -> tuple[Summary | None, int]:
    """Return the summary of the stimuli that this process has to show, and the exit status."""
    from ...model.runs.partial import SummaryError
    from ...model.summarizer import summarize
    from ...summary.parts import stretch

    part, n_parts = _part(args.part, process)
    threshold = read_threshold(args.threshold)
    model, prepare = load_network(args)
    stimuli, calibration = load_stimuli(args, prepare, threshold)
    first, stop = stretch(len(stimuli), args.batch_size, part, n_parts)
    if first == stop:
        say(f"no batch of {args.batch_size} stimuli is left for part {part + 1} of {n_parts}")
        return None, 0
    annotations = origin(args, stimuli)
    if args.amp:
        annotations["autocast"] = "bfloat16"
    if args.channels_last:
        annotations["memory_format"] = "channels_last"
    try:
        with _precision(args, model, process):
            summary = summarize(
                model,
                stimuli[first:stop],
                args.layers,
                window=args.window,
                units=args.units,
                threshold=threshold,
                calibration=calibration,
                bin_size=args.bin_size,
                n_trials=args.trials,
                time_dim=args.time_dim,
                channel_dim=args.channel_dim,
                start=first,
                n_stimuli=len(stimuli),
                isi_histogram=args.isi_histogram,
                backend=args.backend,
                checkpoint=_own_checkpoint(args.checkpoint, process),
                batch_size=args.batch_size,
                device=process.device,
                progress=process.is_first and sys.stderr.isatty(),
                seed=args.seed,
                allow_nan=args.allow_nan,
                annotations=annotations,
            )
    except SummaryError as error:
        say(f"error: {in_words(error.__cause__ or error, vars(args))}")
        return error.summary, 1
    return summary, 130 if summary.annotations.get("interrupted") else 0


def _part(text: str | None, process: Process) -> tuple[int, int]:
    """Return which part of the stimuli this process shows, counted from 0, and how many parts there are."""
    if process.n_ranks > 1:
        if text is not None:
            raise ValueError(
                f"--part {text}: the {process.n_ranks} processes of torchrun share all stimuli: leave --part "
                "out"
            )
        return process.rank, process.n_ranks
    found = re.fullmatch(r"(\d+)/(\d+)", text or "1/1")
    part, n_parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= n_parts:
        raise ValueError(f"--part {text}: give I/N for the Ith of N parts, from 1/N to N/N")
    return part - 1, n_parts


def _own_checkpoint(file: str | None, process: Process) -> Path | None:
    """Return the checkpoint of this process; each process of torchrun has another stretch, and its own."""
    if file is None or process.n_ranks == 1:
        return None if file is None else Path(file)
    return Path(file).with_stem(f"{Path(file).stem}-rank{process.rank}of{process.n_ranks}")


def _precision(args: argparse.Namespace, model: nn.Module, process: Process) -> torch.autocast:
    """Lay the model out as asked for, and return the context in which it runs."""
    import torch

    if args.channels_last:
        if not any(parameter.ndim == 4 for parameter in model.parameters()):
            raise ValueError(
                f"--channels-last: {args.model} has no two-dimensional convolution, which alone can use it: "
                "leave it out"
            )
        model.to(memory_format=torch.channels_last)
    home = next((parameter.device for parameter in model.parameters()), "cpu")
    where = torch.device(process.device or home)
    return torch.autocast(where.type, torch.bfloat16, enabled=args.amp)


STREAM = Command(
    "stream",
    "print the statistics of a network's units, added up while stimuli stream through it; no spikes are kept",
    (
        "ann2neo stream --model resnet50 --data images/ --size 224 --layers '*' \\",
        "    --device cuda --amp --channels-last --units-table units.parquet -o resnet50.npz",
        "ann2neo stream --model resnet50 --data images/ --part 3/8 -o part-3.npz",
        "torchrun --nproc-per-node=2 -m ann2neo stream --model resnet18 --data fashion-mnist",
    ),
    _add_options,
    _stream,
)

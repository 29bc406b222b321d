"""The commands that print, save and merge summaries."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..analysis.poisson import fit_poisson
from ..summary.of_recording import summarize_recording
from .arguments import DEFAULTS
from .errors import _in_words, _refuse, _say
from .files import _open
from .network import _model, _origin, _precision, _stimuli, _threshold

if TYPE_CHECKING:
    import pandas as pd

    from ..summary.parts import Process
    from ..summary.summary import Summary


ANY_FILE = {"run", "traceback", "files", "units_table", "layers_table", "overwrite"}
"""Arguments of ``summarize`` for every file."""

RECORDING = ANY_FILE | {"window", "engine", "trust", "bin_size", "block"}
"""Arguments of ``summarize`` for recordings."""


def _summarize(args: argparse.Namespace) -> int:
    if bool(args.files) == bool(args.model):
        raise ValueError("name files to summarize, or else a network by --model and stimuli by --data")
    return _summarize_files(args) if args.files else _summarize_model(args)


def _summarize_files(args: argparse.Namespace) -> int:
    from ..summary.summary import Summary

    _refuse(args, vars(args).keys() - RECORDING, "is for a network (--model), not for files")
    if len(args.files) > 1:
        _refuse(args, ("units_table", "layers_table"), "is for one file: name one")
    _check_outputs(args)
    saved = [file for file in args.files if file.lower().endswith(".npz")]
    if saved:
        _refuse(args, RECORDING - ANY_FILE, f"is for recordings; {saved[0]} is a summary, made as it is")
    for i, file in enumerate(args.files):
        if i:
            print()
        if file in saved:
            _save_and_show(Summary.load(file), args, f"{file}: ")
        else:
            recording = _open(file, args)
            engine = args.engine or "raster"
            summary = summarize_recording(recording, args.window, engine, progress=sys.stderr.isatty())
            summary.annotations = dict(recording.annotations)
            _save_and_show(summary, args, f"{file}: {recording!r}\n")
    return 0


def _summarize_model(args: argparse.Namespace) -> int:
    from ..summary.parts import merge_ranks, process_group

    of_files = RECORDING - ANY_FILE - {"window", "bin_size"}
    _refuse(args, of_files, "is for recordings in files, not for --model")
    if args.data is None:
        raise ValueError(f"--model {args.model}: give the stimuli to show as --data")
    for name, value in DEFAULTS.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    with process_group(args.device) as process:
        if process.is_first:
            _check_outputs(args)
        summary, status = _summarize_part(args, process)
        if process.n_ranks > 1:
            if status:
                raise KeyboardInterrupt if status == 130 else RuntimeError("its part is incomplete")
            summary = merge_ranks(summary)
    if summary is None:
        return 0
    if status:
        _say(f"what follows is of the {summary.n_bins} bins added up until then")
    _save_and_show(summary, args, f"{args.model}: ")
    return status


def _summarize_part(args: argparse.Namespace, process: Process) -> tuple[Summary | None, int]:
    """Return the summary of the stimuli that are this process's to show, and the exit status."""
    from ..model.partial import SummaryError
    from ..model.summarizer import summarize
    from ..summary.parts import stretch

    part, n_parts = _part(args, process)
    threshold = _threshold(args.threshold)
    model, prepare = _model(args)
    stimuli, calibration = _stimuli(args, prepare, by_rule=not isinstance(threshold, float))
    first, stop = stretch(len(stimuli), args.batch_size, part, n_parts)
    if first == stop:
        _say(f"no batch of {args.batch_size} stimuli is left for part {part + 1} of {n_parts}")
        return None, 0
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
                annotations=_origin(args, stimuli),
            )
    except SummaryError as error:
        _say(f"error: {_in_words(error.__cause__ or error)}")
        return error.summary, 1
    return summary, 130 if summary.annotations.get("interrupted") else 0


def _part(args: argparse.Namespace, process: Process) -> tuple[int, int]:
    """Return which part of the stimuli is this process's, counted from 0, and of how many."""
    if process.n_ranks > 1:
        _refuse(args, ["part"], f"{args.part}: {process.n_ranks} processes have a part each already")
        return process.rank, process.n_ranks
    found = re.fullmatch(r"(\d+)/(\d+)", args.part or "1/1")
    part, n_parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= part <= n_parts:
        raise ValueError(f"--part {args.part}: give I/N, the Ith of N parts, from 1/N to N/N")
    return part - 1, n_parts


def _own_checkpoint(file: str | None, process: Process) -> Path | None:
    """Return the checkpoint of a process; among other processes it would have another stretch."""
    if file is None or process.n_ranks == 1:
        return None if file is None else Path(file)
    return Path(file).with_stem(f"{Path(file).stem}-rank{process.rank}of{process.n_ranks}")


def _merge(args: argparse.Namespace) -> int:
    from ..summary.parts import merge_files

    _check_outputs(args)
    summary = merge_files(args.files)
    if lacking := _lacking(summary):
        _say(f"warning: parts are lacking: these are the {lacking}")
    _save_and_show(summary, args)
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise if what is to be saved cannot be, before the work is done."""
    from ..files.tables import check_can_be_tabled
    from ..interop.atomic import check_can_be_written
    from ..summary.npz import check_can_be_kept

    if args.output is not None:
        check_can_be_kept(Path(args.output))
        check_can_be_written(args.output, overwrite=args.overwrite)
    for table in filter(None, (args.units_table, args.layers_table)):
        check_can_be_tabled(table, overwrite=args.overwrite)


def _save_and_show(summary: Summary, args: argparse.Namespace, source: str = "") -> None:
    """Save what is to be saved of a summary, itself first: its tables take memory; then print them."""
    from ..files.tables import save_table
    from .text import report

    saved = []
    if args.output is not None:
        saved.append(summary.save(args.output))
    fit = fit_poisson(summary)
    for path, ours, of_fit in (
        (args.units_table, summary.units, fit.units),
        (args.layers_table, summary.layers, fit.layers),
    ):
        if path is not None:
            saved.append(save_table(_with_new_columns(ours, of_fit), path, overwrite=args.overwrite))
    print(f"{source}{summary!r}")
    if lacking := _lacking(summary):
        print(lacking)
    if saved:
        print("saved as", ", ".join(map(str, saved)))
    print(f"\n{report(summary, fit, summary.annotations.get('shuffled'))}")


def _lacking(summary: Summary) -> str:
    """Tell which bins a summary is of, if not of the whole presentation."""
    planned = sum(summary.trial_bins) if isinstance(summary.trial_bins, tuple) else summary.stop
    if summary.start == 0 and summary.stop == planned:
        return ""
    return f"bins {summary.start} to {summary.stop - 1} of {planned}"


def _with_new_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    return table.join(more[[name for name in more.columns if name not in table.columns]])

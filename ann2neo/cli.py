"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import CALIBRATION, DEFAULTS, SIZE, STUDY_OPTIONS, parser

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import nn

    from .data import Preparation, StimulusSet
    from .distributed import Process
    from .recording import Recording
    from .summary import Summary

ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    OSError,
    ImportError,
    RuntimeError,
    AssertionError,
    AttributeError,
)
"""What users' files, models and arguments raise: shown as one line."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``ann2neo``.

    Parameters
    ----------
    argv : list of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 if recording or summarizing stopped and what there was has been shown or saved,
        or if nobody reads what is printed; 2 on an error; 130 on Ctrl-C.

    Raises
    ------
    SystemExit
        By argparse: after ``--help`` and ``--version``, and if the arguments cannot be parsed.

    Examples
    --------
    >>> main(["info", "missing.nwb"])
    2
    """
    known = _parser()
    args = known.parse_args(argv)
    if args.run is None:
        known.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return args.run(args)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, say head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ERRORS as error:
        if args.traceback:
            raise
        _say(f"error: {_in_words(error)}")
        return 2


def _say(message: str) -> None:
    among_others = os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
    rank = f"rank {os.environ['RANK']}: " if among_others else ""
    print(f"ann2neo: {rank}{message}", file=sys.stderr)


def _show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    _say(f"warning: {_on_command_line(str(message))}")


def _in_words(error: BaseException) -> str:
    message = str(error)
    if isinstance(error, KeyError) and error.args:
        message = str(error.args[0])
    elif isinstance(error, OSError) and error.filename and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    return _on_command_line(message) or type(error).__name__


def _on_command_line(message: str) -> str:
    """Put a message of the library on one line, and its arguments as the options they are here."""
    message = " ".join(message.split())
    flags = r"\b(overwrite|trust|download|allow_nan)=True\b"
    message = re.sub(flags, lambda found: "--" + found[1].replace("_", "-"), message)
    numbers = r"\b(bin_size|block)=(\d+)"
    return re.sub(numbers, lambda found: f"--{found[1].replace('_', '-')} {found[2]}", message)


def _parser() -> argparse.ArgumentParser:
    return parser(
        {
            "demo": _demo,
            "record": _record,
            "summarize": _summarize,
            "merge": _merge,
            "layers": _layers,
            "info": _info,
            "convert": _convert,
            "plot": _plot,
            "compare": _compare,
            "study": _study,
        }
    )


# -- record ------------------------------------------------------------------------------------------


def _record(args: argparse.Namespace) -> int:
    from .io import check_can_be_saved, save
    from .probe import RecordingError, record

    check_can_be_saved(args.output, overwrite=args.overwrite)
    if args.memory is None:
        _refuse(args, ("spill_to", "keep_spill"), "is for what exceeds --memory: give that, too")
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
            keep_spill=args.keep_spill,
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
    from .threshold import Quantile, ZScore

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
    from .data import Preparation
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
    from .data import load_data

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


# -- summarize ---------------------------------------------------------------------------------------

ANY_FILE = {"run", "traceback", "files", "units_table", "layers_table", "overwrite"}
"""Arguments of ``summarize`` for every file."""

RECORDING = ANY_FILE | {"window", "engine", "trust", "bin_size", "block"}
"""Arguments of ``summarize`` for recordings."""


def _summarize(args: argparse.Namespace) -> int:
    if bool(args.files) == bool(args.model):
        raise ValueError("name files to summarize, or else a network by --model and stimuli by --data")
    return _summarize_files(args) if args.files else _summarize_model(args)


def _refuse(args: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Raise if one of these arguments was given."""
    for name in sorted(names):
        if getattr(args, name) is not None and getattr(args, name) is not False:
            raise ValueError(f"--{name.replace('_', '-')} {reason}")


def _summarize_files(args: argparse.Namespace) -> int:
    from .summary import Summary

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
            summary = recording.summarize(args.window, engine, progress=sys.stderr.isatty())
            summary.annotations = dict(recording.annotations)
            _save_and_show(summary, args, f"{file}: {recording!r}\n")
    return 0


def _summarize_model(args: argparse.Namespace) -> int:
    from .distributed import merge_ranks, process_group

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
    from .distributed import stretch
    from .streaming import SummaryError, summarize

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


def _own_checkpoint(file: str | None, process: Process) -> Path | None:
    """Return the checkpoint of a process; among other processes it would have another stretch."""
    if file is None or process.n_ranks == 1:
        return None if file is None else Path(file)
    return Path(file).with_stem(f"{Path(file).stem}-rank{process.rank}of{process.n_ranks}")


def _merge(args: argparse.Namespace) -> int:
    from .parts import merge_files

    _check_outputs(args)
    summary = merge_files(args.files)
    if lacking := _lacking(summary):
        _say(f"warning: parts are lacking: these are the {lacking}")
    _save_and_show(summary, args)
    return 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Raise if what is to be saved cannot be, before the work is done."""
    from .io import check_can_be_written
    from .parts import check_can_be_kept
    from .tables import check_can_be_tabled

    if args.output is not None:
        check_can_be_kept(Path(args.output))
        check_can_be_written(args.output, overwrite=args.overwrite)
    for table in filter(None, (args.units_table, args.layers_table)):
        check_can_be_tabled(table, overwrite=args.overwrite)


def _save_and_show(summary: Summary, args: argparse.Namespace, source: str = "") -> None:
    """Save what is to be saved of a summary, itself first: its tables take memory; then print them."""
    from .report import report
    from .tables import save_table

    saved = []
    if args.output is not None:
        saved.append(summary.save(args.output))
    fit = summary.fit_poisson()
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


# -- the other commands ------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    from .demo import run

    run(args.output, seed=args.seed, progress=True)
    return 0


def _layers(args: argparse.Namespace) -> int:
    import torch

    from .inventory import layers
    from .models import load_model

    model, _ = load_model(args.model)
    size = getattr(model, "image_size", SIZE)
    shape = args.input_shape or [3, size, size]
    if min(shape) < 1:
        raise ValueError(f"--input-shape {' '.join(map(str, shape))}: give whole numbers, at least 1")
    table = layers(model, torch.randn(2, *shape), device=args.device)
    table["shape"] = [" × ".join(map(str, each)) for each in table["shape"]]
    print(table.to_string(index=False))
    chosen = table[table.by_default]
    print(f"\nrecorded by default: {len(chosen)} layers, {chosen.n_units.sum()} units")
    return 0


def _info(args: argparse.Namespace) -> int:
    recording = _open(args.file, args)
    size = f" ({os.path.getsize(args.file) / 1e6:.2f} MB)" if os.path.isfile(args.file) else ""
    print(f"{args.file}{size}: {recording!r}")
    print(f"trials of {_range(recording.time.trial_bins)} bins; {_about_stimuli(recording)}\n")
    width = max(len(name) for name in ["layer", *recording.layers])
    print(f"{'layer':{width}}  {'units':>8}  {'of shape':<16}{'spikes':>12}  threshold")
    for name, raster in recording.rasters.items():
        cells = f"{raster.n_units:>8}  {' × '.join(map(str, raster.shape)):<16}{raster.n_spikes:>12}"
        print(f"{name:{width}}  {cells}  {_range(raster.threshold)}")
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


def _convert(args: argparse.Namespace) -> int:
    from .io import check_can_be_saved, save

    check_can_be_saved(args.output, overwrite=args.overwrite)
    recording = _open(args.input, args)
    print(f"{save(recording, args.output, overwrite=args.overwrite)}: {recording!r}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    from .io import check_can_be_written
    from .plot import overview, require

    require()
    output = Path(args.output or Path(args.files[0]).with_suffix(".png"))
    check_can_be_written(output, overwrite=args.overwrite)
    recordings = dict(zip(_names(args.files), (_open(file, args) for file in args.files), strict=True))
    overview(recordings, window=args.window).savefig(output)
    print(output)
    return 0


def _compare(args: argparse.Namespace) -> int:
    import textwrap

    from .compare import CAVEAT, compare, summarized
    from .io import check_can_be_written
    from .plot import comparison, require
    from .tables import check_can_be_tabled, save_table

    if args.output is not None:
        require()
        check_can_be_written(args.output, overwrite=args.overwrite)
    if args.table is not None:
        check_can_be_tabled(args.table, overwrite=args.overwrite)
    recordings = dict(zip(_names(args.files), (_open(file, args) for file in args.files), strict=True))
    summaries = summarized(recordings, args.window)
    table = compare(summaries)
    print(_comparison(table))
    if len(set(table["bin_size"])) > 1:
        sizes = ", ".join(f"{name} {each.bin_size:g} ms" for name, each in summaries.items())
        print(f"\nbins are not of one size: {sizes}; give neurons the bins that you mean by --bin-size")
    print(f"\n{textwrap.fill(CAVEAT, 98)}")
    if args.table is not None:
        print("saved as", save_table(table, args.table, overwrite=args.overwrite))
    if args.output is not None:
        comparison(summaries).savefig(args.output)
        print("drawn in", args.output)
    return 0


def _study(args: argparse.Namespace) -> int:
    import textwrap

    from .memorization import Study, run_study
    from .plot import require
    from .study_report import verdicts, write_report

    require()
    grid = {name: getattr(args, name) for name in ("data", "architectures", "regimes")}
    given: dict[str, Any] = {name: tuple(values) for name, values in grid.items() if values is not None}
    given |= {name: value for name in STUDY_OPTIONS if (value := getattr(args, name)) is not None}
    results = run_study(
        args.output,
        Study(**given),
        processes=args.processes,
        device=args.device,
        root=args.root,
        download=args.download,
        progress=True,
    )
    report = write_report(results, args.output, tables=args.tables)
    judged = verdicts(results).to_dict("records")
    width = 1 + max((len(row["indicator"]) for row in judged), default=0)
    for row in judged:
        told = f"{row['indicator']:{width}}{row['direction']:8}{row['separates']:10}{row['verdict']}"
        print(textwrap.fill(told, 98, subsequent_indent=" " * (width + 18)))
    for status, n in results.cells["status"].value_counts().items():
        print(f"{n} cells {status}")
    print(f"report, figures and tables: {report}")
    return 1 if (results.cells["status"] == "failed").any() else 0


def _names(files: list[str]) -> list[str]:
    """Return the files' names without folder and suffix, where these tell them apart."""
    names = [Path(file).stem for file in files]
    return names if len(set(names)) == len(names) else files


def _open(file: str, args: argparse.Namespace) -> Recording:
    """Open a recording; one from elsewhere in bins of the size that was asked for."""
    from .io import NotBinned, load

    try:
        return load(file, block=args.block, trust=args.trust)
    except NotBinned:
        if args.bin_size is None:
            raise
        return load(file, bin_size=args.bin_size, block=args.block, trust=args.trust)


def _comparison(table: pd.DataFrame) -> str:
    """Return a table as text, its columns under short names."""
    shown = {
        "recording": "recording",
        "layer": "layer",
        "n_units": "units",
        "bin_size": "bin (ms)",
        "mean_firing_rate_mean": "rate (Hz)",
        "activation_probability_mean": "p",
        "dead_fraction": "dead",
        "fano_factor_mean": "Fano",
        "relative_fano_factor_mean": "Fano/(1−p)",
        "cv_isi_mean": "CV",
        "relative_cv_isi_mean": "CV/√(1−p)",
        "poisson_dispersion_rejected": "≠ Poisson",
        "binomial_dispersion_rejected": "≠ Bernoulli",
        "runs_rejected": "runs",
    }
    text = (
        table[list(shown)]
        .rename(columns=shown)
        .to_string(index=False, float_format="{:.3g}".format, na_rep="–")
    )
    window = table["window"].iloc[0]
    return (
        f"means over units, counts in windows of {window} bins; fractions of units whose counts are rejected "
        f"as Poisson and as Bernoulli, or whose order of spikes is (runs; q < 0.05)\n\n{text}"
    )

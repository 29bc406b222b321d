"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__

if TYPE_CHECKING:
    import pandas as pd
    from torch import nn

    from .data import Preparation, StimulusSet
    from .recording import Recording

SIZE = 64
"""Pixels to which images are scaled for torchvision models without weights, unless they fix their own."""

CALIBRATION = 500
"""Stimuli that a threshold rule is calibrated on by default."""

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
        Exit status: 0; 1 if recording stopped and what there was has been saved; 2 on an error; 130 on
        Ctrl-C.

    Raises
    ------
    SystemExit
        By argparse: after ``--help`` and ``--version``, and if the arguments cannot be parsed.

    Examples
    --------
    >>> main(["info", "missing.nwb"])
    2
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return args.run(args)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except ERRORS as error:
        if args.traceback:
            raise
        _say(f"error: {_in_words(error)}")
        return 2


def _say(message: str) -> None:
    print(f"ann2neo: {message}", file=sys.stderr)


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
    return re.sub(flags, lambda found: "--" + found[1].replace("_", "-"), message)


# -- arguments ---------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ann2neo",
        description="Record artificial neural networks as Neo spike trains and analyse them with Elephant.",
        epilog="ann2neo COMMAND --help shows an example of each command.",
    )
    parser.add_argument("--version", action="version", version=f"ann2neo {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, run: Callable[..., int], text: str, *examples: str) -> argparse.ArgumentParser:
        own = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog="\n  ".join(["example:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
        own.set_defaults(run=run)
        return own

    _demo_arguments(
        command("demo", _demo, "train, record and compare three small networks", "ann2neo demo --output demo")
    )
    _record_arguments(
        command(
            "record",
            _record,
            "show stimuli to a network and save which units spike",
            "ann2neo record --model resnet18 --data fashion-mnist --units 200 --stimuli 2000 \\",
            "    --output resnet18.nwb",
            "ann2neo record --model mypackage.models:trained --data images/ --size 224 \\",
            "    --layers 'block*.relu' --threshold quantile:0.9 --output mine.nix",
        )
    )
    _summarize_arguments(
        command(
            "summarize",
            _summarize,
            "print the statistics of a recording, layer by layer",
            "ann2neo summarize resnet18.nwb --window 50 --units-csv units.csv",
        )
    )
    info = command("info", _info, "tell what a recording holds", "ann2neo info resnet18.nwb")
    info.add_argument("file", help="a recording: .nwb, .nix, .pkl or .mat")
    _trust_argument(info)

    convert = command(
        "convert",
        _convert,
        "save a recording in another format",
        "ann2neo convert resnet18.nwb resnet18.mat",
    )
    convert.add_argument("input", help="a recording: .nwb, .nix, .pkl or .mat")
    convert.add_argument("output", help="where to; its suffix names the format")
    _trust_argument(convert)
    _overwrite_argument(convert)

    plot = command(
        "plot",
        _plot,
        "draw recordings: rasters, distributions of rates, Fano factors",
        "ann2neo plot untrained.nwb trained.nwb --output both.png",
    )
    plot.add_argument("files", nargs="+", metavar="file", help="recordings: .nwb, .nix, .pkl or .mat")
    plot.add_argument("-o", "--output", help="figure: .png, .pdf, .svg … (default: FILE.png)")
    _window_argument(plot)
    _trust_argument(plot)
    _overwrite_argument(plot)
    return parser


def _trust_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--trust", action="store_true", help="open .pkl, which can run any code")


def _window_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--window", type=int, metavar="N", help="bins in a counting window (default: 100, or a whole trial)"
    )


def _overwrite_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="ann2neo-demo", help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def _record_arguments(parser: argparse.ArgumentParser) -> None:
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model",
        required=True,
        help="a torchvision model, say resnet18, or package.module:name of an nn.Module or of a function "
        "that returns one (modules in the current folder too)",
    )
    network.add_argument("--weights", help="of a torchvision model, say DEFAULT; random without")
    network.add_argument("--layers", nargs="+", help="names or globs (default: every activation module)")
    network.add_argument("--units", type=int, metavar="N", help="sample N units in each layer (default: all)")
    network.add_argument(
        "--threshold",
        default="0",
        help="a unit spikes when its activation exceeds this: a number (default: 0), quantile:Q, or "
        "zscore:K (standard deviations above the mean), unit by unit",
    )
    network.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="stimuli on which quantile and zscore are calibrated; others than those recorded "
        f"(default: {CALIBRATION})",
    )
    network.add_argument("--device", help="say cuda (default: where the model is)")
    network.add_argument("--allow-nan", action="store_true", help="count NaN as no spike, and go on")
    stimuli = parser.add_argument_group("stimuli")
    stimuli.add_argument(
        "--data",
        required=True,
        help="digits, fashion-mnist, mnist, kmnist, cifar10, cifar100, svhn; a folder of images (in one "
        "subfolder for each class, or none); a .npy, .npz (x, y) or .pt file of stimuli",
    )
    stimuli.add_argument("--root", help="folder of a data set known by name (default: data)")
    stimuli.add_argument("--download", action="store_true", help="download the data set if it is not there")
    stimuli.add_argument("--split", choices=("test", "train"), help="part of the data set (default: test)")
    stimuli.add_argument("--stimuli", type=int, metavar="N", help="how many to show (default: all)")
    stimuli.add_argument("--no-shuffle", action="store_true", help="show them in the order of the data")
    stimuli.add_argument(
        "--size",
        type=int,
        help="scale images to this many pixels. Default: as the weights want it; for torchvision models "
        f"without weights {SIZE}, which two CPU cores show to resnet18 at about 100 a second (224 takes "
        "seven times as long); as they are for other models",
    )
    stimuli.add_argument(
        "--channels", type=int, choices=(1, 3), help="make images grey or coloured (default: as for --size)"
    )
    stimuli.add_argument(
        "--as-is",
        action="store_true",
        help="torchvision models: the stimuli are ready; no scaling, no normalisation",
    )
    stimuli.add_argument("--batch-size", type=int, default=128, metavar="N", help="default: %(default)s")
    time = parser.add_argument_group("pseudo-time")
    time.add_argument(
        "--bin-size", type=float, default=1.0, metavar="MS", help="duration of a presentation (default: 1)"
    )
    time.add_argument("--trials", type=int, default=1, metavar="N", help="divide into N trials (default: 1)")
    time.add_argument(
        "--time-dim", type=int, metavar="D", help="the layers' dimension that is time within a stimulus"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="for random weights, order and units (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", required=True, help="a .nwb, .nix, .pkl or .mat file")
    _overwrite_argument(parser)


def _summarize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a recording: .nwb, .nix, .pkl or .mat")
    _window_argument(parser)
    parser.add_argument(
        "--engine",
        default="raster",
        choices=("raster", "elephant"),
        help="elephant calls Elephant's functions, for the same values (default: raster)",
    )
    parser.add_argument("--units-csv", metavar="FILE", help="save the table of all units")
    parser.add_argument("--layers-csv", metavar="FILE", help="save the table of layers")
    _overwrite_argument(parser)
    _trust_argument(parser)


# -- record ------------------------------------------------------------------------------------------


def _record(args: argparse.Namespace) -> int:
    from .io import check_can_be_saved, save
    from .probe import RecordingError, record

    check_can_be_saved(args.output, overwrite=args.overwrite)
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
            batch_size=args.batch_size,
            device=args.device,
            progress=sys.stderr.isatty(),
            seed=args.seed,
            allow_nan=args.allow_nan,
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
    """Return the stimuli to record and, for threshold rules, others to calibrate on."""
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
        raise ValueError(f"--trials {args.trials}, but only {n_stimuli} stimuli are to be recorded")
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
    }
    return {name: value for name, value in told.items() if value is not None}


# -- the other commands ------------------------------------------------------------------------------


def _demo(args: argparse.Namespace) -> int:
    from .demo import run

    run(args.output, seed=args.seed, progress=True)
    return 0


def _summarize(args: argparse.Namespace) -> int:
    from .io import check_can_be_written, load
    from .report import report

    tables = [Path(file) for file in (args.units_csv, args.layers_csv) if file]
    for path in tables:
        check_can_be_written(path, overwrite=args.overwrite)
    recording = load(args.file, trust=args.trust)
    summary = recording.summarize(args.window, args.engine, progress=sys.stderr.isatty())
    fit = summary.fit_poisson()
    print(f"{args.file}: {recording!r}\n{summary!r}\n")
    print(report(recording, summary, fit))
    if args.units_csv:
        _with_new_columns(summary.units, fit.units).to_csv(args.units_csv, index=False)
    if args.layers_csv:
        _with_new_columns(summary.layers, fit.layers).to_csv(args.layers_csv, index=False)
    return 0


def _with_new_columns(table: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    return table.join(more[[name for name in more.columns if name not in table.columns]])


def _info(args: argparse.Namespace) -> int:
    from .io import load

    recording = load(args.file, trust=args.trust)
    print(f"{args.file} ({os.path.getsize(args.file) / 1e6:.2f} MB): {recording!r}")
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
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


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
    from .io import check_can_be_saved, load, save

    check_can_be_saved(args.output, overwrite=args.overwrite)
    recording = load(args.input, trust=args.trust)
    print(f"{save(recording, args.output, overwrite=args.overwrite)}: {recording!r}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    from .io import check_can_be_written, load
    from .plot import overview, require

    require()
    output = Path(args.output or Path(args.files[0]).with_suffix(".png"))
    check_can_be_written(output, overwrite=args.overwrite)
    names = [Path(file).stem for file in args.files]
    if len(set(names)) < len(names):
        names = args.files
    recordings = {name: load(file, trust=args.trust) for name, file in zip(names, args.files, strict=True)}
    overview(recordings, window=args.window).savefig(output)
    print(output)
    return 0

"""What can be said on the command line: commands, their options, help and examples."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from .. import __version__
from ..summary.kernels import BACKENDS

SIZE = 64
"""Pixels to which images are scaled for torchvision models without weights, unless they fix their own."""

CALIBRATION = 500
"""Stimuli that a threshold rule is calibrated on by default."""

DEFAULTS = {"threshold": "0", "batch_size": 128, "bin_size": 1.0, "trials": 1, "seed": 0}
"""What holds for a live model where nothing is said; kept apart, so that what was said can be told."""

Command = Callable[[argparse.Namespace], int]


def parser(run: Mapping[str, Command]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Parameters
    ----------
    run : mapping of str to function
        What does the work of each command; the parsed arguments have it as ``run``.
    """
    parser = argparse.ArgumentParser(
        prog="ann2neo",
        description="Record artificial neural networks as Neo spike trains and analyse them with Elephant.",
        epilog="ann2neo COMMAND --help shows an example of each command.",
    )
    parser.add_argument("--version", action="version", version=f"ann2neo {__version__}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    def command(name: str, text: str, *examples: str) -> argparse.ArgumentParser:
        own = commands.add_parser(
            name,
            help=text,
            description=f"{text[0].upper()}{text[1:]}.",
            epilog="\n  ".join(["example:", *examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        own.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
        own.set_defaults(run=run[name])
        return own

    _demo_arguments(
        command("demo", "train, record and compare three small networks", "ann2neo demo --output demo")
    )
    _record_arguments(
        command(
            "record",
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
            "print the statistics of units, layer by layer: of recordings and summaries in files, or of a "
            "network while stimuli stream through it",
            "ann2neo summarize resnet18.nwb --window 50 --units-table units.csv",
            "ann2neo summarize --model resnet50 --data images/ --size 224 --layers '*' \\",
            "    --device cuda --amp --channels-last --units-table units.parquet -o resnet50.npz",
            "ann2neo summarize --model resnet50 --data images/ --part 3/8 -o part-3.npz",
            "torchrun --nproc-per-node=2 -m ann2neo summarize --model resnet18 --data fashion-mnist",
        )
    )
    _merge_arguments(
        command(
            "merge",
            "merge the summaries of parts of one presentation",
            "ann2neo merge part-*.npz -o whole.npz --units-table units.parquet",
        )
    )
    _layers_arguments(
        command(
            "layers",
            "list what can be recorded in a network",
            "ann2neo layers --model resnet18",
            "ann2neo layers --model mypackage.models:trained --input-shape 1 28 28",
        )
    )
    info = command("info", "tell what a recording holds", "ann2neo info resnet18.nwb")
    info.add_argument("file", help="a recording: .nwb, .nix, .pkl or .mat")
    _trust_argument(info)
    _foreign_argument(info)

    convert = command(
        "convert", "save a recording in another format", "ann2neo convert resnet18.nwb resnet18.mat"
    )
    convert.add_argument("input", help="a recording: .nwb, .nix, .pkl or .mat")
    convert.add_argument("output", help="where to; its suffix names the format")
    _trust_argument(convert)
    _foreign_argument(convert)
    _overwrite_argument(convert)

    plot = command(
        "plot",
        "draw recordings: rasters, distributions of rates, Fano factors",
        "ann2neo plot untrained.nwb trained.nwb --output both.png",
    )
    plot.add_argument("files", nargs="+", metavar="file", help="recordings: .nwb, .nix, .pkl or .mat")
    plot.add_argument("-o", "--output", help="figure: .png, .pdf, .svg … (default: FILE.png)")
    _window_argument(plot)
    _trust_argument(plot)
    _foreign_argument(plot)
    _overwrite_argument(plot)

    compare = command(
        "compare",
        "put the statistics of networks and neurons into one table, and one figure",
        "ann2neo compare resnet18.nwb neurons.nix --bin-size 2 --output both.png --table both.csv",
    )
    compare.add_argument("files", nargs="+", metavar="file", help="recordings, or any files Neo can read")
    compare.add_argument("-o", "--output", help="figure: .png, .pdf, .svg …")
    compare.add_argument("--table", metavar="FILE", help="the table, with all columns: .csv or .parquet")
    _window_argument(compare)
    _trust_argument(compare)
    _foreign_argument(compare)
    _overwrite_argument(compare)

    _study_arguments(
        command(
            "study",
            "train networks to memorize, to generalize, and controls; tell what sets them apart",
            "ann2neo study --data digits --architectures mlp --seeds 3 --output study",
            "ann2neo study --data digits fashion-mnist --architectures mlp cnn -o study",
            "ann2neo study --data cifar10 --root data --architectures resnet18 --device cuda \\",
            "    --n-training 10000 --regimes generalizing memorizing redrawn -o study-cifar10",
            "a study that was stopped goes on by the same command; its grid may grow",
        )
    )
    return parser


STUDY_OPTIONS: Mapping[str, tuple[type, str]] = {
    "seeds": (int, "networks in each cell of the grid"),
    "n_training": (int, "training images"),
    "n_few": (int, "training images of the regimes with few"),
    "n_stimuli": (int, "training images, and test images, to record"),
    "epochs": (int, "training gives up after so many"),
    "sgd_epochs": (int, "length of training by SGD"),
    "goal": (float, "accuracy on the labels learned at which training ends"),
    "batch_size": (int, "images in a step of training"),
    "learning_rate": (float, "of Adam"),
    "sgd_learning_rate": (float, "of SGD, at first"),
    "weight_decay": (float, "of the regimes with weight decay"),
    "units": (int, "units to sample from each layer"),
    "threshold": (float, "a unit spikes when its activation exceeds it"),
    "window": (int, "bins in a counting window"),
    "n_orders": (int, "random orders of the stimuli"),
}
"""Settings of a study that are numbers: their type, and what they are."""


def _study_arguments(parser: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("--data", **several, help="data sets (default: digits)")
    parser.add_argument("--architectures", **several, help="mlp, cnn, resnet18, vgg11, vgg11_bn, vit")
    parser.add_argument("--regimes", **several, help="what networks are trained with (default: all)")
    parser.add_argument("-o", "--output", default="ann2neo-study", help="folder (default: %(default)s)")
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--download", action="store_true", help="let torchvision download data sets")
    parser.add_argument("--device", default="cpu", help="where to train: cpu (default), cuda …")
    parser.add_argument("--processes", type=int, metavar="N", help="cells at a time (default: cores)")
    parser.add_argument("--tables", choices=("csv", "parquet"), default="csv", help="format of tables")
    settings = parser.add_argument_group("settings, the same in all cells")
    for name, (kind, text) in STUDY_OPTIONS.items():
        settings.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar="N", help=text)


def _foreign_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--bin-size", type=float, metavar="MS", help="bins for spikes in files that ann2neo did not save"
    )
    _block_argument(parser)


def _block_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--block", type=int, metavar="N", help="which Block of a file that holds several, counted from 0"
    )


def _trust_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--trust", action="store_true", help="open .pkl, which can run any code")


def _window_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--window", type=int, metavar="N", help="bins in a counting window (default: 100, or a whole trial)"
    )


def _overwrite_argument(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def _table_arguments(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--units-table", metavar="FILE", help="save the table of all units: .parquet or .csv")
    parser.add_argument("--layers-table", metavar="FILE", help="save the table of layers: .parquet or .csv")


def _demo_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="ann2neo-demo", help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def _record_arguments(parser: argparse.ArgumentParser) -> None:
    _network_arguments(parser, required=True)
    _stimuli_arguments(parser, required=True)
    _time_arguments(parser)
    parser.add_argument("-o", "--output", required=True, help="a .nwb, .nix, .pkl or .mat file")
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="how much memory spikes may take, one bit a unit and stimulus, say 4GB; the rest goes to a file",
    )
    parser.add_argument(
        "--spill-to", metavar="FOLDER", help="where that file is (default: the folder of the output)"
    )
    _overwrite_argument(parser)
    parser.set_defaults(**DEFAULTS)


def _network_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    network = parser.add_argument_group("network")
    network.add_argument(
        "--model",
        required=required,
        help="a torchvision model, say resnet18, or package.module:name of an nn.Module or of a function "
        "that returns one (modules in the current folder too)",
    )
    network.add_argument("--weights", help="of a torchvision model, say DEFAULT; random without")
    network.add_argument("--layers", nargs="+", help="names or globs (default: every activation module)")
    network.add_argument("--units", type=int, metavar="N", help="sample N units in each layer (default: all)")
    network.add_argument(
        "--threshold",
        help="a unit spikes when its activation exceeds this: a number (default: 0), quantile:Q, or "
        "zscore:K (standard deviations above the mean), unit by unit",
    )
    network.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help="stimuli on which quantile and zscore are calibrated; others than those shown for the "
        f"statistics (default: {CALIBRATION})",
    )
    network.add_argument("--device", help="say cuda (default: where the model is)")
    network.add_argument("--allow-nan", action="store_true", help="count NaN as no spike, and go on")
    network.add_argument("--seed", type=int, help="for random weights, order and units (default: 0)")


def _layers_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        required=True,
        help="a torchvision model, say resnet18, or package.module:name of an nn.Module or of a function "
        "that returns one (modules in the current folder too)",
    )
    parser.add_argument(
        "--input-shape",
        nargs="+",
        type=int,
        metavar="N",
        help=f"shape of one stimulus, of which random ones are shown (default: 3 {SIZE} {SIZE}, or as large "
        "as the model wants it)",
    )
    parser.add_argument("--device", help="say cuda (default: where the model is)")


def _stimuli_arguments(parser: argparse.ArgumentParser, required: bool) -> None:
    stimuli = parser.add_argument_group("stimuli")
    stimuli.add_argument(
        "--data",
        required=required,
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
    stimuli.add_argument("--batch-size", type=int, metavar="N", help=f"default: {DEFAULTS['batch_size']}")


def _time_arguments(parser: argparse.ArgumentParser) -> None:
    time = parser.add_argument_group("pseudo-time")
    time.add_argument("--bin-size", type=float, metavar="MS", help="duration of a presentation (default: 1)")
    time.add_argument("--trials", type=int, metavar="N", help="divide into N trials (default: 1)")
    time.add_argument(
        "--time-dim",
        type=lambda text: text if text == "calls" else int(text),
        metavar="D",
        help="the layers' dimension that is time within a stimulus, each step a bin; calls: each call of a "
        "module in a forward pass is a step",
    )


def _summarize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files",
        nargs="*",
        metavar="FILE",
        help="recordings (.nwb, .nix, .pkl, .mat) and summaries (.npz); or give --model and --data",
    )
    _window_argument(parser)
    _table_arguments(parser)
    _overwrite_argument(parser)
    recordings = parser.add_argument_group("recordings in files")
    recordings.add_argument(
        "--engine",
        choices=("raster", "elephant"),
        help="elephant calls Elephant's functions, for the same values (default: raster)",
    )
    _trust_argument(recordings)
    _block_argument(recordings)
    _network_arguments(parser, required=False)
    _stimuli_arguments(parser, required=False)
    _time_arguments(parser)
    run = parser.add_argument_group(
        "running a network",
        "Under torchrun each process shows a part of the stimuli, with --device cuda on a GPU of its own.",
    )
    run.add_argument("--amp", action="store_true", help="run it in bfloat16 where torch.autocast allows")
    run.add_argument("--channels-last", action="store_true", help="lay feature maps out in this order")
    run.add_argument(
        "--backend", choices=BACKENDS, help="what adds up the spikes (default: the fastest for the device)"
    )
    run.add_argument(
        "--isi-histogram", action="store_true", help="count intervals by length, to test them (2 kB a unit)"
    )
    run.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="a .npz file that is written once a minute, from which the same command goes on; under "
        "torchrun one for each process",
    )
    run.add_argument(
        "--part",
        metavar="I/N",
        help="show only the Ith of N parts of the stimuli, from 1/N to N/N; ann2neo merge puts them together",
    )
    run.add_argument("-o", "--output", help="save the summary, which can be merged: .npz")


def _merge_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="summaries (.npz), in any order")
    parser.add_argument("-o", "--output", help="save the merged summary: .npz")
    _table_arguments(parser)
    _overwrite_argument(parser)

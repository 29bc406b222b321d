"""A network and the stimuli to show to it: the options that name them, and loading them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from ..recording.threshold import Quantile, ZScore
    from ..study.data import Preparation, StimulusSet

SIZE = 64
"""Pixels to which images are scaled for torchvision models without weights, unless they fix their own."""

CALIBRATION = 500
"""Stimuli on which a threshold rule is calibrated by default."""


def model_options(parser: argparse._ActionsContainer) -> None:
    """Add ``--model`` and ``--device``."""
    parser.add_argument(
        "--model",
        required=True,
        help="a torchvision model, such as resnet18; or package.module:name of an nn.Module or of a function "
        "that returns one (also from modules in the current folder)",
    )
    parser.add_argument("--device", help="where to run it, such as cuda (default: where the model is)")


def network_options(parser: argparse.ArgumentParser) -> None:
    """Add all options of the network, of the stimuli, and of the time in which they are shown."""
    _network_options(parser.add_argument_group("network"))
    _stimuli_options(parser.add_argument_group("stimuli"))
    _time_options(parser.add_argument_group("pseudo-time"))


def _network_options(parser: argparse._ActionsContainer) -> None:
    model_options(parser)
    parser.add_argument("--weights", help="of a torchvision model, such as DEFAULT (default: random weights)")
    parser.add_argument("--layers", nargs="+", help="names or globs (default: every activation module)")
    parser.add_argument("--units", type=int, metavar="N", help="draw N units from each layer (default: all)")
    parser.add_argument(
        "--threshold",
        default="0",
        help="a unit spikes when its activation exceeds this: a number (default: 0), or for each unit its "
        "quantile:Q, or zscore:K (standard deviations above its mean)",
    )
    parser.add_argument(
        "--calibration",
        type=int,
        metavar="N",
        help=f"calibrate quantile and zscore on N stimuli that are not shown later (default: {CALIBRATION})",
    )
    parser.add_argument("--allow-nan", action="store_true", help="count NaN as no spike, and go on")
    parser.add_argument(
        "--seed", type=int, default=0, help="for random weights, order and units (default: %(default)s)"
    )


def _stimuli_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--data",
        required=True,
        help="digits, fashion-mnist, mnist, kmnist, cifar10, cifar100 or svhn; a folder of images (with or "
        "without a subfolder for each class); a .npy, .npz (x, y) or .pt file of stimuli",
    )
    parser.add_argument("--root", help="folder that holds the named data set (default: data)")
    parser.add_argument("--download", action="store_true", help="download the data set if it is not there")
    parser.add_argument("--split", choices=("test", "train"), help="part of the data set (default: test)")
    parser.add_argument("--stimuli", type=int, metavar="N", help="how many to show (default: all)")
    parser.add_argument("--no-shuffle", action="store_true", help="show them in the order of the data")
    parser.add_argument(
        "--size",
        type=int,
        help="scale images to this many pixels. Default: what the weights want; for torchvision models "
        f"without weights {SIZE}, which two CPU cores show to resnet18 at about 100 a second (224 takes "
        "seven times as long); for other models images keep their size",
    )
    parser.add_argument(
        "--channels", type=int, choices=(1, 3), help="make images grey or coloured (default: as for --size)"
    )
    parser.add_argument(
        "--as-is",
        action="store_true",
        help="for torchvision models: the stimuli are ready, do not scale and do not normalise them",
    )
    parser.add_argument(
        "--batch-size", type=int, default=128, metavar="N", help="shown at once (default: %(default)s)"
    )


def _time_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--bin-size", type=float, default=1.0, metavar="MS", help="duration of a presentation (default: 1)"
    )
    parser.add_argument(
        "--trials", type=int, default=1, metavar="N", help="divide into N trials (default: %(default)s)"
    )
    parser.add_argument(
        "--time-dim",
        type=lambda text: text if text == "calls" else int(text),
        metavar="D",
        help="the dimension of the layers that is time within a stimulus, where each step is a bin; calls: "
        "each call of a module in a forward pass is a step",
    )
    parser.add_argument(
        "--channel-dim",
        type=int,
        metavar="D",
        help="the dimension of the layers that is the channel of a feature map (1 for n, channels, height, "
        "width); by default it is found out, layer by layer, where that is possible",
    )


def read_threshold(text: str) -> float | Quantile | ZScore:
    """Return the threshold, or the rule, that ``--threshold`` names."""
    from ..recording.threshold import Quantile, ZScore

    rules: dict[str, Any] = {"": float, "quantile": Quantile, "zscore": ZScore}
    rule, _, number = text.rpartition(":")
    try:
        value = float(number)
        make = rules[rule]
    except (ValueError, KeyError):
        raise ValueError(f"--threshold {text}: give a number, quantile:0.9 or zscore:2") from None
    threshold: float | Quantile | ZScore = make(value)
    return threshold


def load_network(args: argparse.Namespace) -> tuple[nn.Module, Preparation]:
    """Return the model, and how stimuli are prepared for it."""
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


def load_stimuli(
    args: argparse.Namespace, prepare: Preparation, threshold: float | Quantile | ZScore
) -> tuple[StimulusSet, StimulusSet | None]:
    """Return the stimuli to show and, if the threshold is a rule, others to calibrate it on."""
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
    is_rule = not isinstance(threshold, float)
    if args.calibration is not None and not is_rule:
        raise ValueError(
            f"--calibration {args.calibration}: --threshold {args.threshold} is a number, which needs no "
            "calibration: leave --calibration out"
        )
    for option, number in (("--stimuli", args.stimuli), ("--calibration", args.calibration)):
        if number is not None and number < 1:
            raise ValueError(f"{option} {number}: give at least one")
    n_calibration = (args.calibration or CALIBRATION) if is_rule else 0
    n_stimuli = len(data) - n_calibration if args.stimuli is None else args.stimuli
    if n_stimuli < 1 or n_stimuli + n_calibration > len(data):
        and_calibration = f" and --calibration {n_calibration}" if n_calibration else ""
        raise ValueError(
            f"--stimuli {args.stimuli or 'all'}{and_calibration}, but {args.data} has {len(data)} stimuli: "
            "ask for fewer"
        )
    if args.trials > n_stimuli:
        raise ValueError(
            f"--trials {args.trials}, but only {n_stimuli} stimuli are shown: give at most {n_stimuli}"
        )
    return data[:n_stimuli], data[n_stimuli : n_stimuli + n_calibration] if is_rule else None


def origin(args: argparse.Namespace, stimuli: StimulusSet) -> dict[str, Any]:
    """Return the annotations that say what was shown to which network."""
    found = {
        "model": args.model,
        "weights": args.weights or (None if ":" in args.model else "random"),
        "dataset": args.data,
        "split": args.split,
        "stimulus_shape": list(stimuli.shape),
        "shuffled": not args.no_shuffle,
        "classes": list(stimuli.classes) or None,
    }
    return {name: value for name, value in found.items() if value is not None}

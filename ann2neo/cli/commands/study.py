"""``ann2neo study``."""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..command import Command
from ..errors import say

GRID = {
    "data": "data sets (default: digits)",
    "architectures": "mlp, cnn, resnet18, vgg11, vgg11_bn, vit (default: mlp)",
    "regimes": "how networks are trained (default: all): random, generalizing, memorizing, shuffled20, "
    "shuffled40, shuffled60, shuffled80, equal_steps, redrawn, true_after_shuffled, shuffled_after_true, "
    "noise, few_true, few_shuffled, decay_true, decay_shuffled, sgd_true, sgd_shuffled",
}
"""Settings of a study of which it takes several: a cell of its grid has one of each."""

SETTINGS: Mapping[str, tuple[int | float, str]] = {
    "seeds": (3, "networks in each cell of the grid"),
    "n_training": (1000, "training images"),
    "n_few": (200, "training images of the regimes with few"),
    "n_stimuli": (1000, "training images, and as many test images, to record"),
    "epochs": (150, "training gives up after so many"),
    "sgd_epochs": (100, "length of training by SGD"),
    "goal": (0.99, "training ends at this accuracy on the labels learned"),
    "batch_size": (64, "images in a step of training"),
    "learning_rate": (1e-3, "of Adam"),
    "sgd_learning_rate": (0.05, "of SGD, at first"),
    "weight_decay": (0.1, "of the regimes with weight decay"),
    "units": (256, "units to draw from each layer"),
    "threshold": (0.0, "a unit spikes when its activation exceeds it"),
    "window": (20, "bins in a counting window"),
    "n_orders": (5, "random orders of the stimuli"),
}
"""Settings of a study that are numbers: their default, and what they are."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    for name, text in GRID.items():
        parser.add_argument(f"--{name}", nargs="+", metavar="NAME", help=text)
    parser.add_argument(
        "-o",
        "--output",
        default="ann2neo-study",
        help="folder; the same command goes on with a study that was stopped there, and its grid may grow "
        "(default: %(default)s)",
    )
    parser.add_argument("--root", help="folder of the data sets")
    parser.add_argument("--download", action="store_true", help="let torchvision download data sets")
    parser.add_argument("--device", default="cpu", help="where to train: cpu (default), cuda …")
    parser.add_argument("--processes", type=int, metavar="N", help="cells at a time (default: cores)")
    parser.add_argument("--tables", choices=("csv", "parquet"), default="csv", help="format of tables")
    settings = parser.add_argument_group("settings, the same in all cells")
    for name, (default, text) in SETTINGS.items():
        about = f"{text} (default: {default})"
        settings.add_argument(f"--{name.replace('_', '-')}", type=type(default), metavar="N", help=about)


def _study(args: argparse.Namespace) -> int:
    from ...plot import require
    from ...study import Study, run_study, verdicts, write_report
    from ...study.cells.storage import is_done

    require()
    given: dict[str, Any] = {
        **{name: tuple(values) for name in GRID if (values := getattr(args, name)) is not None},
        **{name: value for name in SETTINGS if (value := getattr(args, name)) is not None},
    }
    study = Study(**given)
    try:
        results = run_study(
            args.output,
            study,
            processes=args.processes,
            device=args.device,
            root=args.root,
            download=args.download,
            progress=sys.stderr.isatty(),
        )
    except KeyboardInterrupt:
        n = sum(is_done(cell, Path(args.output)) for cell in study.cells)
        of_all = f"{n} of {len(study.cells)} cells"
        say(f"{of_all} are stored in {args.output}: the same command goes on with the rest")
        raise
    report = write_report(results, args.output, tables=args.tables)
    judged = verdicts(results).to_dict("records")
    width = 1 + max((len(row["indicator"]) for row in judged), default=0)
    for row in judged:
        line = f"{row['indicator']:{width}}{row['direction']:8}{row['separates']:10}{row['verdict']}"
        print(textwrap.fill(line, 98, subsequent_indent=" " * (width + 18)))
    for status, n in results.cells["status"].value_counts().items():
        print(f"{n} cells {status}")
    print(f"report, figures and tables: {report}")
    return 1 if (results.cells["status"] == "failed").any() else 0


STUDY = Command(
    "study",
    "train networks to memorize, to generalize, and as controls; report how their firing differs",
    (
        "ann2neo study --data digits --architectures mlp --seeds 3 --output study",
        "ann2neo study --data digits fashion-mnist --architectures mlp cnn -o study",
        "ann2neo study --data cifar10 --root data --architectures resnet18 --device cuda \\",
        "    --n-training 10000 --regimes generalizing memorizing redrawn -o study-cifar10",
        "how long it takes: all regimes, 3 seeds, mlp and cnn on digits and fashion-mnist (216 networks)",
        "    took 2.2 hours on two cores; resnet18 with half the images (108 networks) 4.8 hours",
    ),
    _add_options,
    _study,
)

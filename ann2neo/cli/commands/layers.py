"""``ann2neo layers``."""

from __future__ import annotations

import argparse

from ..command import Command
from ..network import SIZE, model_options


def _add_options(parser: argparse.ArgumentParser) -> None:
    model_options(parser)
    parser.add_argument(
        "--input-shape",
        nargs="+",
        type=int,
        metavar="N",
        help=f"shape of one stimulus; random ones are shown (default: 3 {SIZE} {SIZE}, or as large as the "
        "model wants it)",
    )


def _layers(args: argparse.Namespace) -> int:
    import torch

    from ...model.inventory import layers
    from ..models import load_model

    model, _ = load_model(args.model)
    size = getattr(model, "image_size", SIZE)
    shape = args.input_shape or [3, size, size]
    if min(shape) < 1:
        raise ValueError(f"--input-shape {' '.join(map(str, shape))}: give whole numbers, at least 1")
    try:
        table = layers(model, torch.randn(2, *shape), device=args.device)
    except (RuntimeError, IndexError) as error:
        raise ValueError(
            f"{args.model} cannot take stimuli of shape {' '.join(map(str, shape))} ({error}): give the "
            "shape of one stimulus, without the batch, with --input-shape"
        ) from error
    table["shape"] = [" × ".join(map(str, each)) for each in table["shape"]]
    print(table.to_string(index=False))
    chosen = table[table.by_default]
    print(f"\nrecorded by default: {len(chosen)} layers, {chosen.n_units.sum()} units")
    return 0


LAYERS = Command(
    "layers",
    "list what can be recorded in a network",
    (
        "ann2neo layers --model resnet18",
        "ann2neo layers --model mypackage.models:trained --input-shape 1 28 28",
    ),
    _add_options,
    _layers,
)

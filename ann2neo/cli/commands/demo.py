"""``ann2neo demo``."""

from __future__ import annotations

import argparse
import sys

from ..command import Command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-o", "--output", default="ann2neo-demo", help="folder (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")


def _demo(args: argparse.Namespace) -> int:
    from ...study.demo import run

    run(args.output, seed=args.seed, progress=sys.stderr.isatty())
    return 0


DEMO = Command(
    "demo",
    "train, record and compare three small networks",
    ("ann2neo demo --output demo",),
    _add_options,
    _demo,
)

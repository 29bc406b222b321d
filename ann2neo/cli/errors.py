"""What the command line says when something goes wrong."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable
from typing import Any

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


def _refuse(args: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Raise if one of these arguments was given."""
    for name in sorted(names):
        if getattr(args, name) is not None and getattr(args, name) is not False:
            raise ValueError(f"--{name.replace('_', '-')} {reason}")

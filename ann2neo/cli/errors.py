"""What the command line says when something goes wrong."""

from __future__ import annotations

import os
import sys
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
"""Errors that users' files, models and arguments can raise: they are shown as one line."""


def say(message: str) -> None:
    """Print a line to standard error; each process of torchrun says which one it is."""
    among_others = os.environ.get("WORLD_SIZE", "1") != "1" and "RANK" in os.environ
    rank = f"rank {os.environ['RANK']}: " if among_others else ""
    print(f"ann2neo: {rank}{message}", file=sys.stderr)


def show_warning(message: Warning | str, *where: Any, **more: Any) -> None:
    """Show a warning as one line, in place of ``warnings.showwarning``."""
    say(f"warning: {_on_one_line(str(message))}")


def in_words(error: BaseException) -> str:
    r"""Return the message of an error on one line.

    Examples
    --------
    >>> in_words(FileNotFoundError(2, "No such file or directory", "net.nwb"))
    'net.nwb: No such file or directory'
    >>> in_words(KeyError("a shape\nthat does not fit"))
    'a shape that does not fit'
    """
    message = str(error)
    if isinstance(error, KeyError) and error.args:
        message = str(error.args[0])
    elif isinstance(error, OSError) and error.filename and error.strerror:
        message = f"{error.filename}: {error.strerror}"
    return _on_one_line(message) or type(error).__name__


def _on_one_line(message: str) -> str:
    return " ".join(message.split())

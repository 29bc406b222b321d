"""What the command line says when something goes wrong."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Collection
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


def show_warning(message: Warning | str, *where: Any, options: Collection[str] = (), **more: Any) -> None:
    """Show a warning as one line, in place of ``warnings.showwarning``."""
    say(f"warning: {with_options(_on_one_line(str(message)), options)}")


def with_options(text: str, options: Collection[str]) -> str:
    """Name options of the command line, where a text of the library names arguments.

    Parameters
    ----------
    text : str
        A message.
    options : collection of str
        The options that the command has, as argparse names them: other arguments stay as they are.

    Examples
    --------
    >>> with_options("window=4 bins, but the longest has 3: give bin_size=1", ["window"])
    '--window 4 bins, but the longest has 3: give bin_size=1'
    >>> with_options("give overwrite=True (on the command line --overwrite) to replace it", ["overwrite"])
    'give --overwrite to replace it'
    """
    text = re.sub(r"\w+=\S+?( \(ms\))?,? \(?on the command line (--[\w-]+( \d+)?)\)?", r"\2", text)
    for name in options:
        option = f"--{OPTIONS.get(name, name).replace('_', '-')}"
        text = re.sub(rf"\b{name}=True\b", option, text)
        text = re.sub(rf"(?<![\w-]){name}='?([^\s,:;)']+)'?", rf"{option} \1", text)
        text = re.sub(rf"(?<![\w-]){name}=(?=[\s,:;)]|$)", option, text)
    return text


OPTIONS = {"n_trials": "trials", "n_stimuli": "stimuli"}
"""Arguments whose options have other names."""


def in_words(error: BaseException, options: Collection[str] = ()) -> str:
    r"""Return the message of an error on one line, in terms of the options that the command has.

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
    return with_options(_on_one_line(message), options) or type(error).__name__


def _on_one_line(message: str) -> str:
    return " ".join(message.split())

"""The command ``ann2neo``: it parses its arguments, runs a command, and shows errors as one line."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version

from .commands import COMMANDS
from .encoding import print_in_any_encoding
from .errors import ERRORS, in_words, say, show_warning


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``ann2neo``.

    Parameters
    ----------
    argv : list of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        Exit status: 0 if all went well; 1 if recording or summarizing stopped early and what there was has
        been shown or saved, or if nobody reads what is printed; 2 on an error; 130 on Ctrl-C.

    Raises
    ------
    SystemExit
        By argparse: after ``--help``, and if the arguments cannot be parsed.

    Examples
    --------
    >>> main(["info", "missing.nwb"])
    2
    """
    print_in_any_encoding()
    known = parser()
    args = known.parse_args(argv)
    if args.version:
        print("ann2neo", version("ann2neo"))
        return 0
    if args.run is None:
        known.print_help()
        return 0
    options = [*vars(args), *("n_trials", "n_stimuli")]
    os.environ.setdefault("MPLBACKEND", "agg")  # figures go to files, and open no window
    try:
        with warnings.catch_warnings():
            warnings.showwarning = partial(show_warning, options=options)
            status: int = args.run(args)
            return status
    except KeyboardInterrupt:
        say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, say head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ERRORS as error:
        if args.traceback:
            raise
        say(f"error: {in_words(error, options)}")
        return 2


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; what it parses has the command's function as ``run``."""
    known = argparse.ArgumentParser(
        prog="ann2neo",
        description="Record artificial neural networks as Neo spike trains and analyse them with Elephant.",
        epilog="ann2neo COMMAND --help shows an example of each command.",
        allow_abbrev=False,
    )
    known.add_argument("--version", action="store_true", help="print the version and exit")
    known.set_defaults(run=None)
    commands = known.add_subparsers(title="commands", metavar="COMMAND")
    for command in COMMANDS:
        command.add_to(commands)
    return known

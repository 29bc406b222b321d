"""The command line: it parses, calls and prints."""

from __future__ import annotations

import argparse
import os
import sys
import warnings
from collections.abc import Sequence

from .arguments import parser
from .errors import ERRORS, _in_words, _say, _show_warning
from .files import _compare, _convert, _demo, _info, _layers, _plot, _study
from .network import _record
from .summarize import _merge, _summarize


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``ann2neo``.

    Parameters
    ----------
    argv : list of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        Exit status: 0; 1 if recording or summarizing stopped and what there was has been shown or saved,
        or if nobody reads what is printed; 2 on an error; 130 on Ctrl-C.

    Raises
    ------
    SystemExit
        By argparse: after ``--help`` and ``--version``, and if the arguments cannot be parsed.

    Examples
    --------
    >>> main(["info", "missing.nwb"])
    2
    """
    known = _parser()
    args = known.parse_args(argv)
    if args.run is None:
        known.print_help()
        return 0
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return args.run(args)
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except BrokenPipeError:  # the reader, say head, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ERRORS as error:
        if args.traceback:
            raise
        _say(f"error: {_in_words(error)}")
        return 2


def _parser() -> argparse.ArgumentParser:
    return parser(
        {
            "demo": _demo,
            "record": _record,
            "summarize": _summarize,
            "merge": _merge,
            "layers": _layers,
            "info": _info,
            "convert": _convert,
            "plot": _plot,
            "compare": _compare,
            "study": _study,
        }
    )

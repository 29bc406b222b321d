"""What a command is, and the options that many commands have.

To add a command, write a file in :mod:`.commands` that ends with a :class:`Command`, and list it in
``commands/__init__.py``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command of ``ann2neo``.

    Parameters
    ----------
    name : str
        What the user types after ``ann2neo``.
    help : str
        What the command does, without a capital and a full stop.
    examples : tuple of str
        Lines that ``--help`` shows as examples.
    add_options : function
        Adds the options of the command to its parser.
    run : function
        Does the work with the parsed arguments; returns the exit status.
    """

    name: str
    help: str
    examples: tuple[str, ...]
    add_options: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]

    def add_to(self, commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
        """Add the parser of this command to those of the others."""
        parser = commands.add_parser(
            self.name,
            help=self.help,
            description=f"{self.help[0].upper()}{self.help[1:]}.",
            epilog="\n  ".join(["example:", *self.examples]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # --units must never be taken for --units-table
        )
        parser.add_argument("--traceback", action="store_true", help="show where in the code an error arose")
        parser.set_defaults(run=self.run)
        self.add_options(parser)


def window_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--window``."""
    parser.add_argument(
        "--window",
        type=int,
        metavar="N",
        help="bins in a counting window (default: 100, or what leaves 50 windows)",
    )


def overwrite_option(parser: argparse._ActionsContainer) -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")

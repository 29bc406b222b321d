"""The command line: it parses, calls and prints."""

from .run import main

__all__ = ["main"]

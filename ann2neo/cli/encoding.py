"""Output in encodings that lack some of our characters, such as cp1252 where Windows redirects it."""

from __future__ import annotations

import codecs
import sys

PLAIN = {
    "−": "-",
    "–": "-",
    "─": "-",
    "·": "*",
    "×": "x",
    "√": "sqrt",
    "≠": "!=",
    "≤": "<=",
    "≥": ">=",
    "±": "+-",
    "²": "^2",
    "ε": "eps",
    "χ": "chi",
    "µ": "u",
    "…": "...",
    "→": "->",
    "’": "'",
}
"""What is printed for a character that the encoding of the output lacks."""


def plain(error: UnicodeError) -> tuple[str, int]:
    r"""Replace characters that cannot be encoded by plain ones, or by their number.

    Examples
    --------
    >>> codecs.register_error("ann2neo.plain", plain)
    >>> "√(1 − p) of größe 🧠".encode("ascii", "ann2neo.plain").decode()
    'sqrt(1 - p) of gr\\xf6\\xdfe \\U0001f9e0'
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    replaced = (PLAIN.get(each, each.encode("ascii", "backslashreplace").decode()) for each in lacking)
    return "".join(replaced), error.end


def print_in_any_encoding() -> None:
    """Let standard output and standard error replace what their encodings lack, instead of failing."""
    codecs.register_error("ann2neo.plain", plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a notebook or a test puts in their place may not
            stream.reconfigure(errors="ann2neo.plain")

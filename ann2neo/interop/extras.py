"""Libraries that are not always installed. If one is missing, the error says how to install it."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any


def needed(module: str, *, by: str, extra: str) -> Any:
    """Import a library.

    Parameters
    ----------
    module : str
        What to import.
    by : str
        What needs it, for the message.
    extra : str
        The extra of ann2neo that installs it.

    Raises
    ------
    ImportError
        If it is not installed; the message says how to install it.

    Examples
    --------
    >>> needed("json", by="this example", extra="all").dumps([1])
    '[1]'
    >>> needed("no_such_library", by="this example", extra="all")
    Traceback (most recent call last):
    ...
    ImportError: this example needs no_such_library: pip install 'ann2neo[all]'
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(how_to_install(module, by=by, extra=extra)) from error


def check_installed(*modules: str, by: str, extra: str) -> None:
    """Raise the ImportError of :func:`needed`, but import nothing: an import can take seconds."""
    for module in modules:
        if find_spec(module) is None:
            raise ImportError(how_to_install(module, by=by, extra=extra))


def how_to_install(module: str, *, by: str, extra: str) -> str:
    """Return the message that names a missing library, what needs it, and how to get it."""
    return f"{by} needs {module}: pip install 'ann2neo[{extra}]'"

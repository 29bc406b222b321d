"""Warnings that point at the line of the caller, outside of this package."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path

import torch

PACKAGE = str(Path(__file__).parents[1]) + os.sep

INSIDE = (PACKAGE, str(Path(torch.__file__).parent) + os.sep, str(contextlib.__file__))
"""Files that lie between what a user wrote and what it led to."""


def warn_caller(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn, and point at the first line outside of this package and of torch that led here.

    Examples
    --------
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn_caller("a word")
    >>> str(caught[0].message), caught[0].filename.startswith(PACKAGE)
    ('a word', False)
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(INSIDE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

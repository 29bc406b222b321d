"""Compiled code runs as it was written while a probe is on: what torch.compile made calls no module."""

from __future__ import annotations

import importlib
import sys
import threading
from typing import Any

import torch

_changing = threading.Lock()
_on: set[Eagerly] = set()
_stance: Any = None


class Eagerly:
    """Runs compiled code as it was written; several probes may end in any order.

    The compiler takes seconds to import, so it is left alone where nobody has imported it.

    Examples
    --------
    >>> with Eagerly():
    ...     torch.compile(lambda x: print(type(x).__name__))(1)
    int
    """

    def __enter__(self) -> None:
        global _stance
        if "torch._dynamo" in sys.modules:
            with _changing:
                if not _on:
                    _stance = torch.compiler.set_stance("force_eager")
                _on.add(self)

    def __exit__(self, *exception: object) -> None:
        with _changing:
            if self in _on:
                if len(_on) == 1:
                    _stance.__exit__(None, None, None)
                _on.remove(self)


def load_compiler() -> None:
    """Import the compiler: what somebody's loop compiles while a probe is on runs as it was written."""
    importlib.import_module("torch._dynamo")

"""Taking part in the calls of a module, so that copies of it know nothing of it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

Around = Callable[[Callable[[], Any], tuple[Any, ...], dict[str, Any]], Any]
"""Makes a call, given it with its arguments, and returns what it gives."""

_changing = threading.Lock()


class _Interception:
    """Stands in for the call of one module, where torch looks for a compiled one.

    Hooks of torch would do the same, but copies and pickles of a module carry these; torch's fused kernels
    for transformers are not used where a module has one; and one that Ctrl-C ends runs no hook. What stands
    where this stands is in no copy and in no pickle, and it also runs around all hooks of the user.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.compiled = module._compiled_call_impl
        self.arounds: list[Around] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        called = sys._getframe(1).f_locals.get("self", self.module)
        if called is not self.module:  # copies that share the attributes of the module
            if getattr(called, "_is_replica", False):
                raise RuntimeError(
                    f"a {type(called).__name__} runs in a copy that DataParallel made on another GPU, all at "
                    "once with the others: give the probe and its loop the model itself (model.module), or "
                    "use DistributedDataParallel"
                )
            return called._call_impl(*args, **kwargs)
        call = partial(self.compiled or self.module._call_impl, *args, **kwargs)
        for around in self.arounds:
            call = partial(around, call, args, kwargs)
        return call()

    __call__._torchdynamo_disable = True  # type: ignore[attr-defined]  # torch.compile takes no part of it

    def __reduce__(self) -> tuple[Any, ...]:
        return _nothing, ()  # modules that pickle or copy all their attributes


def _nothing() -> None:
    """Stand in for an interception in a copy."""


def intercept(module: nn.Module, around: Around) -> None:
    """Take part in the calls of a module until :func:`release`; who comes last is outermost.

    Parameters
    ----------
    module : torch.nn.Module
    around : callable
        Called in place of the module, with the call, its args and its kwargs.

    Examples
    --------
    >>> import copy, torch
    >>> relu = nn.ReLU()
    >>> def around(call, args, kwargs):
    ...     print("called with", *args)
    ...     return call()
    >>> intercept(relu, around)
    >>> one, two = relu(torch.tensor(1)), copy.deepcopy(relu)(torch.tensor(2))
    called with tensor(1)
    >>> release(relu, around)
    >>> three = relu(torch.tensor(3))
    """
    with _changing:
        standing = module.__dict__.get("_compiled_call_impl")
        if not isinstance(standing, _Interception):
            standing = _Interception(module)
        standing.arounds = [*standing.arounds, around]
        module.__dict__["_compiled_call_impl"] = standing


def release(module: nn.Module, around: Around) -> None:
    """Take part no more, if one did."""
    with _changing:
        standing = module.__dict__.get("_compiled_call_impl")
        if not isinstance(standing, _Interception):
            return
        standing.arounds = [each for each in standing.arounds if each != around]
        if not standing.arounds and standing.compiled is None:
            del module.__dict__["_compiled_call_impl"]
        elif not standing.arounds:
            module.__dict__["_compiled_call_impl"] = standing.compiled


def is_intercepted(module: nn.Module) -> bool:
    """Tell whether somebody takes part in the calls of a module."""
    return isinstance(module.__dict__.get("_compiled_call_impl"), _Interception)

"""Modules for which torch has a fused kernel, in which no module or function inside is called from Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack, _pop_mode, _push_mode

FAST_PATHS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""Modules that one fused kernel may compute in evaluation; its output differs where there is padding."""


def may_be_fast(module: nn.Module) -> bool:
    """Tell whether torch may compute a module by its fused kernel; if in doubt, yes.

    Examples
    --------
    >>> attention = nn.MultiheadAttention(4, 2, batch_first=True)
    >>> with torch.no_grad():
    ...     may_be_fast(attention), may_be_fast(attention.eval()), may_be_fast(nn.ReLU().eval())
    (False, True, False)
    """
    if module.training or not isinstance(module, FAST_PATHS):
        return False
    attention = [each for each in module.modules() if isinstance(each, nn.MultiheadAttention)]
    if not any(each.batch_first for each in attention):
        return False  # the kernel takes the stimuli first
    has_hooks = any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())
    if has_hooks and isinstance(module, nn.TransformerEncoderLayer):
        return False
    return not (torch.is_grad_enabled() and any(p.requires_grad for p in module.parameters()))


@contextmanager
def without(mode: TorchFunctionMode) -> Iterator[None]:
    """Take a function mode off for a while: torch uses no fused kernel while one is on."""
    modes: list[Any] = _get_current_function_mode_stack()
    above = modes[modes.index(mode) :] if mode in modes else []
    for _ in above:
        _pop_mode()
    for each in above[1:]:
        _push_mode(each)
    try:
        yield
    finally:
        for _ in above[1:]:
            _pop_mode()
        for each in above:
            _push_mode(each)

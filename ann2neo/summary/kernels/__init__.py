"""The one hot loop, in three back ends with one signature: activations to bits, bits to sums.

``pack`` compares every activation with its unit's threshold, once, and keeps one bit of it: 32 bins of a
unit make a word. ``fold`` walks through the words of a unit and adds up in registers all that the statistics
need. So the state of a unit (``FIELDS``, 152 bytes) is read and written once in a few hundred bins; in every
bin, it would cost more memory traffic than the activations themselves.

* :mod:`.portable`: torch, any device; slow, and the reference for the others
* :mod:`.compiled`: numba, all cores of the CPU
* :mod:`.fused`: Triton, NVIDIA and AMD GPUs

All sums are integers, so they do not depend on how a stretch of pseudo-time is split. The contrast of two
adjacent intervals, c = |I − J|/(I + J), gives CV2 = 2⟨c⟩ and LV = 3⟨c²⟩. c and c² are rounded down to
multiples of 2⁻⁵²; a sum of such terms is kept as a whole and a fraction.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from .state import Backend

BACKENDS = ("portable", "compiled", "fused")

_NEEDS = {"compiled": "numba", "fused": "triton"}

_log = logging.getLogger("ann2neo")


def choose(device: torch.device, name: str | None = None) -> Backend:
    """Return the back end called ``name``, or the fastest for a device.

    If it cannot run here, :mod:`.portable` takes its place, and the log ``ann2neo`` says so.

    Raises
    ------
    ValueError
        If there is no back end of that name.

    Examples
    --------
    >>> choose(torch.device("cpu"), "portable").__name__
    'ann2neo.summary.kernels.portable'
    """
    if name is not None and name not in BACKENDS:
        raise ValueError(f"backend={name!r}: give one of {BACKENDS}, or None to choose by the device")
    wanted = name or {"cpu": "compiled", "cuda": "fused"}.get(device.type, "portable")
    found: Backend = _load(wanted, device.type)
    return found


@cache
def _load(name: str, device_type: str) -> Any:
    missing = None
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        missing = f"{_NEEDS[name]} is not installed"
    else:
        try:
            module = import_module(f"{__name__}.{name}")
        except (ImportError, RuntimeError) as error:  # not for this interpreter; nowhere to keep its cache
            missing = str(error).partition("\n")[0]
        else:
            missing = module.missing(device_type)
    if missing is None:
        return module
    _log.warning("backend %r cannot run on %s (%s): using 'portable'", name, device_type, missing)
    return import_module(f"{__name__}.portable")

"""The staircase of :class:`~ann2neo.Summary`: methods that lead to functions on upper floors.

Each is one import and one call. Users chain them; inside the package nobody takes the stairs, but calls the
function.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..analysis.poisson import PoissonFit


class SummaryHandover:
    """What a summary becomes elsewhere."""

    def save(self: Any, path: str | os.PathLike[str]) -> Path:
        """Write all that was added up to a ``.npz`` file: :func:`ann2neo.summary.npz.write_summary`."""
        from .npz import write_summary

        return write_summary(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote: :func:`ann2neo.summary.npz.read_summary`."""
        from .npz import read_summary

        return read_summary(path)  # type: ignore[return-value]

    def fit_poisson(self: Any, alpha: float = 0.05) -> PoissonFit:
        """Fit a Poisson process to each unit and test it: :func:`ann2neo.analysis.fit_poisson`."""
        from ..analysis.poisson import fit_poisson

        return fit_poisson(self, alpha)

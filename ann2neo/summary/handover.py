"""The staircase of :class:`~ann2neo.Summary`: a method that leads to a function on an upper floor.

It is one import and one call. Users chain it; inside the package nobody takes the stairs, but calls the
function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..analysis.poisson import PoissonFit


class SummaryHandover:
    """What a summary becomes elsewhere."""

    def fit_poisson(self: Any, alpha: float = 0.05) -> PoissonFit:
        """Fit a Poisson process to each unit and test it: :func:`ann2neo.analysis.fit_poisson`."""
        from ..analysis.poisson import fit_poisson

        return fit_poisson(self, alpha)

"""What the statistics say: fitted processes and their tests, surrogates, indicators, comparisons."""

from .comparison import compare
from .memorization import distributions, indicators
from .modulation import ModulatedFit, fit_groups, fit_modulated
from .poisson import PoissonFit, fit_poisson
from .surrogates import surrogate

__all__ = [
    "ModulatedFit",
    "PoissonFit",
    "compare",
    "distributions",
    "fit_groups",
    "fit_modulated",
    "fit_poisson",
    "indicators",
    "surrogate",
]

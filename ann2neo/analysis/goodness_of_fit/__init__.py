"""Does a process fit: tests of counts, of intervals and of order, of all units at once."""

from .outcome import REASONS, Outcome
from .tests import TESTS, GoodnessOfFit, qvalue

__all__ = ["REASONS", "TESTS", "GoodnessOfFit", "Outcome", "qvalue"]

"""Does a process fit: tests of counts, of intervals and of order, of all units at once."""

from .outcome import REASONS, GoodnessOfFit, Outcome
from .tests import TESTS, qvalue

__all__ = ["REASONS", "TESTS", "GoodnessOfFit", "Outcome", "qvalue"]

"""The networks of a study, cell by cell: the grid, one cell, all of them in processes, what they found.

A cell is one data set, one architecture, one regime of training and one seed. Each is stored when it is
done, so that a study that was killed goes on where it was.
"""

from .grid import Cell, Study
from .results import Results, load_study
from .running import run_study

__all__ = ["Cell", "Results", "Study", "load_study", "run_study"]

"""What tells networks that memorize from those that generalize: data, training, controls, verdicts."""

from .cells import Results, Study, load_study, run_study
from .data import load_data
from .findings import effects, verdicts, write_report
from .pruning import importance, prunable, prune

__all__ = [
    "Results",
    "Study",
    "effects",
    "importance",
    "load_data",
    "load_study",
    "prunable",
    "prune",
    "run_study",
    "verdicts",
    "write_report",
]

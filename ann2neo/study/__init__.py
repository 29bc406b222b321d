"""What tells networks that memorize from those that generalize: data, training, controls, verdicts."""

from .data import load_data
from .effect_sizes import effects, verdicts
from .pruning import importance, prunable, prune
from .report import write_report
from .study import Study, load_study, run_study

__all__ = [
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

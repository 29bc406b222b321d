"""What a study found: effect sizes over seeds, verdicts, figures, and a report in Markdown."""

from .effect_sizes import effects
from .judgement import verdicts
from .report import write_report

__all__ = ["effects", "verdicts", "write_report"]

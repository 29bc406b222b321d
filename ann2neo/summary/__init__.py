"""The statistics of all units, as sums that merge: no spikes are kept."""

from .of_recording import summarize_recording
from .parts import merge_files, merge_ranks, process_group, stretch
from .statistics import STATISTICS
from .summary import Summary, merge

__all__ = [
    "STATISTICS",
    "Summary",
    "merge",
    "merge_files",
    "merge_ranks",
    "process_group",
    "stretch",
    "summarize_recording",
]

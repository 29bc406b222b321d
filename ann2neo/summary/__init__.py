"""The statistics of all units, as sums that merge: no spikes are kept."""

from .of_recording import summarize_recording
from .parts import merge_files, stretch
from .processes import Process, merge_ranks, process_group
from .statistics import STATISTICS
from .summary import Summary, merge

__all__ = [
    "STATISTICS",
    "Process",
    "Summary",
    "merge",
    "merge_files",
    "merge_ranks",
    "process_group",
    "stretch",
    "summarize_recording",
]

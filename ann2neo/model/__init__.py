"""A live network: stimuli go in, and what its units fire is recorded, summarized or followed."""

from .inventory import layers
from .monitor import Monitor
from .probe import Probe, RecordingError
from .recorder import calibrate, record
from .summarizer import SummaryError, summarize

__all__ = [
    "Monitor",
    "Probe",
    "RecordingError",
    "SummaryError",
    "calibrate",
    "layers",
    "record",
    "summarize",
]

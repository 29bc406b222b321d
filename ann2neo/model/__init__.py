"""A live network: stimuli go in, and what its units fire is recorded, summarized or followed."""

from .calibration import calibrate
from .inventory import layers
from .monitor import Monitor
from .partial import RecordingError, SummaryError
from .probe import Probe
from .recorder import record
from .summarizer import summarize

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

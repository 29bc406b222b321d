"""A live network: stimuli go in, and what its units fire is recorded, summarized or followed."""

from .inventory import layers
from .monitor import Monitor
from .probe import Probe
from .recorder import record
from .runs.calibration import calibrate
from .runs.partial import RecordingError, SummaryError
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

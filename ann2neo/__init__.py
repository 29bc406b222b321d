"""ann2neo: artificial networks as Neo spike trains, analysed with Elephant."""

from .analysis.comparison import compare
from .analysis.poisson import PoissonFit
from .files.save_load import load, save
from .model.inventory import layers
from .model.monitor import Monitor
from .model.probe import Probe
from .model.recorder import record
from .model.runs.calibration import calibrate
from .model.runs.partial import RecordingError, SummaryError
from .model.summarizer import summarize
from .recording.raster import SpikeRaster
from .recording.recording import Recording
from .recording.stimuli import Stimuli
from .recording.threshold import Quantile, ZScore
from .summary.summary import Summary, merge

__version__ = "0.1.0"

__all__ = [
    "Monitor",
    "PoissonFit",
    "Probe",
    "Quantile",
    "Recording",
    "RecordingError",
    "SpikeRaster",
    "Stimuli",
    "Summary",
    "SummaryError",
    "ZScore",
    "calibrate",
    "compare",
    "layers",
    "load",
    "merge",
    "record",
    "save",
    "summarize",
]

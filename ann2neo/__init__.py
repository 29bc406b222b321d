"""ann2neo: artificial networks as Neo spike trains, analysed with Elephant."""

from .compare import compare
from .inventory import layers
from .io import load, save
from .monitor import Monitor
from .poisson import PoissonFit
from .probe import Probe, RecordingError, calibrate, record
from .raster import SpikeRaster, Stimuli
from .recording import Recording
from .streaming import SummaryError, summarize
from .summary import Summary, merge
from .threshold import Quantile, ZScore

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

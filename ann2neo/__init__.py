"""ann2neo: artificial networks as Neo spike trains, analysed with Elephant."""

from .io import load, save
from .poisson import PoissonFit
from .probe import Probe, RecordingError, calibrate, record
from .raster import SpikeRaster, Stimuli
from .recording import Recording
from .summary import Summary
from .threshold import Quantile, ZScore

__version__ = "0.1.0"

__all__ = [
    "PoissonFit",
    "Probe",
    "Quantile",
    "Recording",
    "RecordingError",
    "SpikeRaster",
    "Stimuli",
    "Summary",
    "ZScore",
    "calibrate",
    "load",
    "record",
    "save",
]

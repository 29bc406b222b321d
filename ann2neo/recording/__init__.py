"""The nouns: pseudo-time, who spiked when, what was shown, and the recording that holds them together.

It needs NumPy and torch alone. Every other wing builds on it.
"""

from .raster import SpikeRaster
from .recording import Recording
from .stimuli import Stimuli
from .threshold import Quantile, ZScore
from .time import PseudoTime

__all__ = ["PseudoTime", "Quantile", "Recording", "SpikeRaster", "Stimuli", "ZScore"]

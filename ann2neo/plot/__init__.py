"""Recordings and their statistics, drawn on given Axes, and figures of everything."""

from .figures import comparison, overview
from .raster_panel import raster
from .style import COLOURS, require
from .training_panel import indicators
from .unit_panels import cv_against_rate, fano_against_rate, rates

__all__ = [
    "COLOURS",
    "comparison",
    "cv_against_rate",
    "fano_against_rate",
    "indicators",
    "overview",
    "raster",
    "rates",
    "require",
]

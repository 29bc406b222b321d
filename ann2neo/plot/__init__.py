"""Recordings and their statistics, drawn on given Axes, and one figure of everything."""

from .figures import (
    comparison,
    cv_against_rate,
    fano_against_rate,
    indicators,
    overview,
    raster,
    rates,
    require,
)

__all__ = [
    "comparison",
    "cv_against_rate",
    "fano_against_rate",
    "indicators",
    "overview",
    "raster",
    "rates",
    "require",
]

"""Colours, words on axes, and the libraries that drawing needs."""

from __future__ import annotations

from ..interop.extras import check_installed
from ..summary.statistics import STATISTICS, Statistic

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that the colour-blind can tell apart (Okabe & Ito 2008), for one recording after the other."""

LIGHT = "#888888"
"""For lines that stay in the background."""

DARK = "#444444"
"""For notes below a figure."""


def require() -> None:
    """Raise an ImportError that says what to install, if the libraries that draw are missing."""
    check_installed("matplotlib", "viziphant", by="drawing", extra="plot")


def statistic_of(name: str) -> Statistic:
    """Return the declaration of a statistic: its unit, its description, and what processes give."""
    return next(s for s in STATISTICS if s.name == name)


def axis_label(name: str) -> str:
    """Return name, description and unit of a statistic, for an axis."""
    statistic = statistic_of(name)
    text = f"{statistic.name.replace('_', ' ')}: {statistic.description}"
    return text + f" ({statistic.unit})" * bool(statistic.unit)

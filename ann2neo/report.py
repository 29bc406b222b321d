"""The statistics of a recording as text: two tables, and what to keep in mind when reading them."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from .goodness_of_fit import TESTS
from .poisson import PoissonFit
from .recording import Recording
from .summary import Summary

if TYPE_CHECKING:
    import pandas as pd


def report(recording: Recording, summary: Summary, fit: PoissonFit) -> str:
    """Return the statistics and tests of each layer as text of at most 98 columns or so.

    Parameters
    ----------
    recording : Recording
        The spikes.
    summary : Summary
        Their statistics: mean and variance over units are shown.
    fit : PoissonFit
        Their tests: the fraction of units rejected is shown, of those that could be tested.

    Returns
    -------
    str

    Examples
    --------
    >>> from ann2neo.raster import SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 0]])})
    >>> summary = recording.summarize(2)
    >>> print(report(recording, summary, summary.fit_poisson()).splitlines()[2])
    relu         2   500.0   62500   0.333   0.028   0.667   0.000   0.333   0.000
    """
    return "\n".join(
        [
            *_statistics_table(summary.layers),
            "",
            *_tests_table(summary.layers, fit),
            "",
            textwrap.fill(_caution(recording), 98),
        ]
    )


def _number(value: float) -> str:
    if value != value:
        return "–"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.{3 if abs(value) < 100 else 1 if abs(value) < 1e4 else 0}f}"


def _percent(fraction: float) -> str:
    return "–" if fraction != fraction else f"{100 * fraction:.1f}"


def _short(name: str, width: int = 28) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _statistics_table(layers: pd.DataFrame) -> list[str]:
    shown = {
        "rate (Hz)": "mean_firing_rate",
        "Fano factor": "fano_factor",
        "Fano / (1 − p)": "relative_fano_factor",
        "CV of intervals": "cv_isi",
    }
    width = max(len(_short(name)) for name in layers["layer"])
    lines = [
        "mean and variance over units".ljust(width + 7) + "".join(title.rjust(16) for title in shown),
        "layer".ljust(width) + "units".rjust(7) + ("mean".rjust(8) + "var".rjust(8)) * len(shown),
    ]
    for row in layers.to_dict("records"):
        cells = [_number(row[f"{name}_{moment}"]) for name in shown.values() for moment in ("mean", "var")]
        start = _short(row["layer"]).ljust(width) + str(row["n_units"]).rjust(7)
        lines.append(start + "".join(cell.rjust(8) for cell in cells))
    return lines


def _tests_table(layers: pd.DataFrame, fit: PoissonFit) -> list[str]:
    tests = sorted(TESTS, key=lambda test: test.process, reverse=True)
    width = max(len(_short(name)) for name in layers["layer"])
    lines = [
        f"% of units (dead: never spike; on: always spike), % rejected of those tested (q < {fit.alpha:g})",
        " " * (width + 19) + "".join(f"as {test.process.capitalize()}".rjust(13) for test in tests),
        "layer".ljust(width)
        + "units".rjust(7)
        + "dead".rjust(6)
        + "on".rjust(6)
        + "".join(("counts" if "dispersion" in test.name else "intervals").rjust(13) for test in tests),
    ]
    for row, tested in zip(layers.to_dict("records"), fit.layers.to_dict("records"), strict=True):
        cells = [_percent(row[f"{name}_fraction"]).rjust(6) for name in ("dead", "always_on")]
        cells += [_percent(tested[f"{test.name}_rejected"]).rjust(13) for test in tests]
        lines.append(_short(row["layer"]).ljust(width) + str(row["n_units"]).rjust(7) + "".join(cells))
    return lines


def _caution(recording: Recording) -> str:
    told = ""
    if "shuffled" in recording.annotations:
        told = f"Stimuli were {'' if recording.annotations['shuffled'] else 'NOT '}shuffled. "
    return (
        f"{told}Shuffled stimuli make a unit's train exchangeable: its Fano factor and CV then follow from "
        "its spike probability p, as 1 − p and √(1 − p), and tell nothing else about it; networks differ in "
        "how rates are distributed over units. Stimuli sorted by class raise the Fano factor: an effect of "
        "order. Variances have ddof = 0: over n windows, Fano / (1 − p) of independent bins is (n − 1) / n "
        "on average. Hz are spikes per second of pseudo-time, a convention: one presentation lasts one bin."
    )

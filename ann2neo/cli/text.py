"""The statistics of a summary as text: three tables, and what to keep in mind when reading them."""

from __future__ import annotations

import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from ..analysis.caveats import BERNOULLI, NEURONS, PSEUDO_TIME, SHUFFLED, SORTED
from ..analysis.goodness_of_fit.outcome import ALWAYS_ON, NO_HISTOGRAM, SILENT
from ..analysis.goodness_of_fit.tests import TESTS
from ..analysis.poisson import PoissonFit
from ..recording.neurons import of_neurons
from ..summary.summary import Summary
from .errors import with_options

if TYPE_CHECKING:
    import pandas as pd


def report(summary: Summary, fit: PoissonFit, shuffled: bool | None = None) -> str:
    """Return the statistics and tests of each layer as text of at most 98 columns or so.

    Parameters
    ----------
    summary : Summary
        The statistics: mean and variance over units are shown, and how units are active together.
    fit : PoissonFit
        Their tests: the fraction of units rejected is shown, of those that could be tested.
    shuffled : bool, optional
        Whether the stimuli were shown in random order, if that is known.

    Returns
    -------
    str

    Examples
    --------
    >>> from ann2neo import Recording, SpikeRaster
    >>> recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 1, 0, 0]])})
    >>> summary = recording.summarize(2)
    >>> print(report(summary, summary.fit_poisson()).splitlines()[2])
    relu         2   500.0   62500   0.333   0.028   1.333   0.000   0.333   0.000
    """
    layers = summary.layers
    lines = _statistics_table(layers)
    lines.append(
        f"Fano factors: {summary.n_windows} windows of {summary.window} bins; relative: over the "
        "(n−1)/n·(1−p) of independent bins"
    )
    for remark in summary.remarks:
        note = f"NOTE: {with_options(remark, ['window'])}"
        lines += textwrap.wrap(note, 98, subsequent_indent="      ")
    lines += ["", *_population_table(layers), ""]
    lines += [*_tests_table(layers, fit), *_untested(fit)]
    if not summary.isi_histogram:
        lines.append(
            "n/a: tests of intervals need their histogram: ann2neo stream --isi-histogram; 2 kB a unit"
        )
    caution = NEURONS if of_neurons(summary.annotations) else _caution(shuffled)
    return "\n".join([*lines, "", textwrap.fill(caution, 98)])


def _number(value: float) -> str:
    if value != value:
        return "–"
    if value and abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{value:.{3 if abs(value) < 100 else 1 if abs(value) < 1e4 else 0}f}"


def _percent(fraction: float) -> str:
    return "–" if fraction != fraction else f"{100 * fraction:.1f}"


def _short(name: str, width: int = 26) -> str:
    return name if len(name) <= width else "…" + name[1 - width :]


def _first_columns(layers: pd.DataFrame) -> tuple[str, list[str]]:
    """Return header and rows of the columns with which every table begins."""
    names, numbers = [*map(_short, layers["layer"])], [*map(str, layers["n_units"])]
    width, units_width = max(map(len, names)), max(7, *(len(number) + 2 for number in numbers))
    rows = [name.ljust(width) + n.rjust(units_width) for name, n in zip(names, numbers, strict=True)]
    return "layer".ljust(width) + "units".rjust(units_width), rows


def _statistics_table(layers: pd.DataFrame) -> list[str]:
    shown = {
        "rate (Hz)": "mean_firing_rate",
        "Fano factor": "fano_factor",
        "Fano, relative": "relative_fano_factor",
        "CV of intervals": "cv_isi",
    }
    header, starts = _first_columns(layers)
    lines = [
        "mean and variance over units".ljust(len(header)) + "".join(title.rjust(16) for title in shown),
        header + ("mean".rjust(8) + "var".rjust(8)) * len(shown),
    ]
    for start, row in zip(starts, layers.to_dict("records"), strict=True):
        cells = [_number(row[f"{name}_{moment}"]) for name in shown.values() for moment in ("mean", "var")]
        lines.append(start + "".join(cell.rjust(8) for cell in cells))
    return lines


def _population_table(layers: pd.DataFrame) -> list[str]:
    shown = {
        "mean": "n_active_mean",
        "var": "n_active_var",
        "sparseness": "population_sparseness",
        "silent bins": "n_silent_bins",
        "correlation": "correlation_mean",
    }
    header, starts = _first_columns(layers)
    lines = [
        "units active in a bin, sparseness of all bins but silent ones, mean correlation of sampled pairs",
        header + "".join(title.rjust(13) for title in shown),
    ]
    for start, row in zip(starts, layers.to_dict("records"), strict=True):
        cells = [str(row[n]) if n == "n_silent_bins" else _number(row[n]) for n in shown.values()]
        lines.append(start + "".join(cell.rjust(13) for cell in cells))
    return lines


def _tests_table(layers: pd.DataFrame, fit: PoissonFit) -> list[str]:
    tests = sorted(TESTS, key=lambda test: ("poisson", "bernoulli", "renewal").index(test.process))
    header, starts = _first_columns(layers)
    nulls = [(process, len([*same])) for process, same in groupby(test.process for test in tests)]
    widths = [8 if first else 7 for _, n in nulls for first in [True] + [False] * (n - 1)]
    lines = [
        f"% of units (dead: never spike, on: always), % rejected of those tested (q < {fit.alpha:g}) as",
        " " * (len(header) + 12) + "".join(process.rjust(7 * n + 1) for process, n in nulls),
        header + "dead".rjust(6) + "on".rjust(6) + _row([test.of for test in tests], widths),
    ]
    reasons = fit.reasons
    rows = zip(starts, layers.to_dict("records"), fit.layers.to_dict("records"), strict=True)
    for start, row, tested in rows:
        cells = [_percent(row[f"{name}_fraction"]).rjust(6) for name in ("dead", "always_on")]
        rejected = [
            "n/a" if reasons[test.name].eq(NO_HISTOGRAM).all() else _percent(tested[f"{test.name}_rejected"])
            for test in tests
        ]
        lines.append(start + "".join(cells) + _row(rejected, widths))
    return lines


def _row(cells: list[str], widths: list[int]) -> str:
    return "".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _untested(fit: PoissonFit) -> list[str]:
    """Return why units that do spike, and rest, were not tested, as lines of text; none if all were."""
    of, told, n_units = {test.name: test.of for test in TESTS}, [], len(fit.units)
    for reason, rows in fit.untested.groupby("reason", sort=False):
        if reason not in (NO_HISTOGRAM, SILENT, ALWAYS_ON):
            tests = ", ".join(dict.fromkeys(of[name] for name in rows["test"]))
            least, most = (_percent(n / n_units) for n in (rows["n_units"].min(), rows["n_units"].max()))
            told.append(f"{reason} {least if least == most else f'{least}–{most}'} ({tests})")
    return textwrap.wrap(f"not tested, % of all units: {'; '.join(told)}", 98) if told else []


def _caution(shuffled: bool | None) -> str:
    order = "" if shuffled is None else f"Stimuli were {'' if shuffled else 'NOT '}shuffled. "
    return f"{order}{SHUFFLED} {BERNOULLI} {SORTED} {PSEUDO_TIME}"

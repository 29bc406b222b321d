"""The report of a study in Markdown, with its tables and figures beside it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...analysis.caveats import SHUFFLED
from ...files.tables import save_table
from ..cells import Results
from .comparisons import CELL, INDICATORS, MAIN, SHARED, SURVIVES, Comparison
from .effect_sizes import effects
from .figures import FIGURES
from .judgement import verdicts

if TYPE_CHECKING:
    import pandas as pd


CAVEAT = f"""\
Seeds are the sample, never units: units of one network share its weights and the order of the stimuli.
With {{seeds}} seeds an interval that leaves 0 out means little by itself: look at how many cells agree.
{SHUFFLED} So "Bernoulli fits" tests the shuffle. The surrogates, independent Bernoulli trains of the same p,
show what p alone explains. Class selectivity needs the true labels, as does all that is sorted by class. What
is found here holds for these networks, data and settings."""


FOUND = ("cells", "training", "indicators", "distributions", "units")
"""The tables of the results."""


def write_report(results: Results, folder: str | os.PathLike[str], *, tables: str = "csv") -> Path:
    """Write tables, figures and ``report.md`` of a study.

    Parameters
    ----------
    results : Results
        As :func:`ann2neo.study.run_study` returns them.
    folder : path
        Where to write; files of the same names are replaced.
    tables : {"csv", "parquet"}
        Format of the tables ``cells``, ``training``, ``indicators``, ``distributions``, ``units``,
        ``effects`` and ``verdicts``.

    Returns
    -------
    pathlib.Path
        The path of ``report.md``.

    Raises
    ------
    ValueError
        If no cell is done.
    """
    folder = Path(folder)
    if results.indicators.empty:
        raise ValueError(f"there is nothing to report, no cell of the study is done: {_count(results)}")
    of_network = effects(results)
    judged = verdicts(results, of_network)
    written = {name: getattr(results, name) for name in FOUND} | {"effects": of_network, "verdicts": judged}
    for name, table in written.items():
        save_table(table, folder / f"{name}.{tables}", overwrite=True)
    for name, (draw, _) in FIGURES.items():
        draw(results).savefig(folder / name)
    path = folder / "report.md"
    path.write_text(_text(results, of_network, judged), encoding="utf-8")
    return path


def _count(results: Results) -> str:
    counts = results.cells["status"].value_counts() if len(results.cells) else {}
    return ", ".join(f"{n} {status}" for status, n in counts.items()) or "no cell was run"


def _text(results: Results, of_network: pd.DataFrame, judged: pd.DataFrame) -> str:
    study, of_last = results.study, effects(results, layer="last")
    settings = ", ".join(f"{name} {value}" for name, value in study.settings.items())
    parts = [
        "# Networks that memorize, and what tells them apart",
        f"{', '.join(study.data)} × {', '.join(study.architectures)} × {len(study.regimes)} regimes × "
        f"{study.seeds} seeds; {settings}.",
        f"{len(results.cells)} of {len(study.cells)} cells were run: {_count(results)}.",
        _unsettled(results),
        "## How well they learned",
        "Means over seeds: epochs, accuracy on the labels learned, accuracy on test images.",
        _markdown(_learned(results)),
        "## Verdicts",
        _explanation(),
        _markdown(judged) if len(judged) else "The study lacks memorizing or generalizing networks.",
        "The last hidden layer alone:" if len(judged) else "",
        _markdown(verdicts(results, of_last, layer="last")) if len(judged) else "",
        CAVEAT.format(seeds=study.seeds),
        "## Indicators by regime",
        "The whole network at the last look, recorded on training images: means over seeds.",
        *_by_regime(results),
        "## Effects",
        "Memorizing minus generalizing networks: mean difference and 95 % bootstrap interval over seeds, in "
        "bold type where it leaves 0 out.",
        _markdown(_wide(of_network)),
        "In the last hidden layer alone:",
        _markdown(_wide(of_last)),
        "## Figures",
        *(f"![{caption}]({name})\n\n{caption}" for name, (_, caption) in FIGURES.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _explanation() -> str:
    return (
        "*separates*: in how many cells (data set × architecture) memorizing networks differ from "
        "generalizing ones in this direction. Then the same count for comparisons that an indicator of "
        f"memorization ought to survive ({_named(SURVIVES)}) and for those in which nothing is memorized, "
        f"where it ought not to differ ({_named(SHARED)}). "
        "*dose*: rank correlation with the fraction of labels shuffled. Networks that missed their goal are "
        "left out, and a cell counts from two seeds on."
    )


def _named(comparisons: tuple[Comparison, ...]) -> str:
    return "; ".join(f"{each.name}: {each.about}" for each in comparisons)


def _unsettled(results: Results) -> str:
    """Name the cells that did not end as they should."""
    rows = results.cells[results.cells["status"] != "done"]
    if rows.empty:
        return ""
    lines = [
        "Cells that did not end as they should (they are in the tables, but no evidence for verdicts and "
        "effects):",
        "",
    ]
    for row in rows.to_dict("records"):
        why = row.get("error")
        why = f": {why}" if isinstance(why, str) else ""
        accuracy = row.get("learned_accuracy")
        known = accuracy is not None and not np.isnan(accuracy)
        reached = f" ({accuracy:.1%} after {row['epochs']:.0f} epochs)" if known else ""
        cell = ", ".join(row[name] for name in (*CELL, "regime"))
        lines.append(f"- {cell}, seed {row['seed']}: {row['status']}{reached}{why}")
    return "\n".join(lines)


def _learned(results: Results) -> pd.DataFrame:
    done = results.cells[results.cells["status"] != "failed"]
    means = done.groupby(["regime", *CELL], sort=False)[
        ["epochs", "learned_accuracy", "test_accuracy"]
    ].mean()
    cells = means.apply(
        lambda row: f"{row['epochs']:.0f}; {row['learned_accuracy']:.1%}; {row['test_accuracy']:.1%}", axis=1
    )
    return _across(cells)


def _across(cells: pd.Series) -> pd.DataFrame:
    """Return one row a regime or indicator, one column a data set and architecture."""
    first = cells.index.names[0]
    order = list(dict.fromkeys(cells.index.get_level_values(0)))
    wide = cells.unstack(CELL).reindex(order)
    wide.columns = [", ".join(pair) for pair in wide.columns]
    return wide.fillna("–").rename_axis(first).reset_index()


def _by_regime(results: Results) -> list[str]:
    looks = results.indicators
    last = looks[looks["last"] & (looks["layer"] == "network") & (looks["split"] == "training")]
    means = last.groupby(["regime", *CELL], sort=False).mean(numeric_only=True)
    parts = []
    for name, title in INDICATORS.items():
        if name not in means:
            continue
        cells = means[name].map("{:.3f}".format)
        surrogate = f"surrogate_{name}"
        if surrogate in means:
            cells = cells + means[surrogate].map(" ({:.3f})".format)
            title += " (in brackets: Bernoulli surrogates)"
        parts += [f"**{title}**", _markdown(_across(cells))]
    return parts


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    main = table[table["comparison"] == MAIN.name].set_index(["indicator", *CELL])

    def cell(row: pd.Series) -> str:
        if not row["n_seeds"]:
            return "–"
        text = f"{row['effect']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]"
        return f"**{text}**" if row["separates"] else text

    if main.empty:
        return main.reset_index()
    wide = _across(main.apply(cell, axis=1))
    return wide.assign(indicator=wide["indicator"].map(INDICATORS))


def _markdown(table: pd.DataFrame) -> str:
    def text(value: Any) -> str:
        if isinstance(value, float):
            return "–" if np.isnan(value) else f"{value:.2f}"
        return str(value)

    rows = [[*table.columns], ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(map(text, row)) + " |" for row in rows)

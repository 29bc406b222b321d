"""What the cells of a study found."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .grid import Study
from .storage import is_study, place_of, read_study, told_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Results:
    """What the cells of a study found: tidy tables, all with ``data, architecture, regime, seed``.

    Parameters
    ----------
    study : Study
        The study that was run.
    cells : pandas.DataFrame
        One row a cell: ``status`` (done, goal not reached, diverged, failed), ``epochs``, accuracies of the
        last epoch, ``seconds``.
    training : pandas.DataFrame
        One row a cell and epoch: accuracy on the labels learned and, at the looks, on the true labels of
        training and test images.
    indicators : pandas.DataFrame
        One row a cell, look (``epoch``, ``last``), ``split`` of the stimuli and layer: the columns of
        :func:`ann2neo.analysis.indicators`.
    distributions : pandas.DataFrame
        Quantiles of p over units at the last look: see :func:`ann2neo.analysis.distributions`.
    units : pandas.DataFrame
        Some units at the last look, on the training images.
    """

    study: Study
    cells: pd.DataFrame
    training: pd.DataFrame
    indicators: pd.DataFrame
    distributions: pd.DataFrame
    units: pd.DataFrame


def load_study(folder: str | os.PathLike[str]) -> Results:
    """Read what the cells of a study have stored so far.

    Raises
    ------
    FileNotFoundError
        If there is no study in the folder.
    """
    import pandas as pd

    folder = Path(folder)
    if not is_study(folder):
        raise FileNotFoundError(f"there is no study in {folder}: run one, ann2neo study --output {folder}")
    study = read_study(folder)
    told = {cell: about for cell in study.cells if (about := told_of(cell, folder)) is not None}
    tables = {}
    for name in ("training", "indicators", "distributions", "units"):
        found = []
        for cell in told:
            path = place_of(cell, folder) / f"{name}.csv"
            if path.exists():
                table = pd.read_csv(path, dtype={"layer": str})
                for column, value in reversed(asdict(cell).items()):
                    table.insert(0, column, value)
                found.append(table)
        tables[name] = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    cells = pd.DataFrame([*told.values()]).drop(columns="traceback", errors="ignore")
    return Results(study, cells, **tables)

"""Where a study and its cells are stored, and what is there."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from .grid import Cell, Study

MEASURES = 2
"""How tables of cells are computed: raised when a column changes its meaning.

1: ``relative_fano_factor`` was the Fano factor over 1 − p. 2: over (n − 1)/n · (1 − p) in n windows.
"""


def place_of(cell: Cell, folder: Path) -> Path:
    """Return the folder of a cell in that of its study."""
    return folder / "cells" / str(cell)


def told_of(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """Return what was stored of a cell: its status, epochs, accuracies. None, if it was not run."""
    path = place_of(cell, folder) / "cell.json"
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_text())
    return told


def is_done(cell: Cell, folder: Path) -> bool:
    """Return whether a cell need not be run again: those that failed need to."""
    told = told_of(cell, folder)
    return told is not None and told["status"] != "failed"


@contextmanager
def stored_whole(cell: Cell, folder: Path) -> Iterator[Path]:
    """Give a folder to fill; it takes the place of the cell when all is in it, and vanishes if it is not."""
    place = place_of(cell, folder)
    for left in place.parent.glob(f".{cell}-*"):  # by a run that was killed
        shutil.rmtree(left)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{cell}-", dir=place.parent))
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished)
        raise
    if place.exists():
        shutil.rmtree(place)
    unfinished.rename(place)


def is_study(folder: Path) -> bool:
    """Return whether a study was stored in a folder."""
    return (folder / "study.json").exists()


def read_study(folder: Path) -> Study:
    """Return the grid and settings of the study in a folder."""
    kept = _kept(folder)
    kept.pop("measures", None)
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Study(**known)


def write_study(folder: Path, study: Study) -> None:
    """Store grid and settings of a study."""
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps({**asdict(study), "measures": MEASURES}, indent=1))


def _kept(folder: Path) -> dict[str, Any]:
    kept: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return kept


def with_what_is_there(folder: Path, study: Study) -> Study:
    """Return the study of a folder, its grid extended by that of another study with the same settings.

    Raises
    ------
    ValueError
        If the settings differ, or the tables of the cells were computed otherwise.
    """
    if not is_study(folder):
        return study
    measures = _kept(folder).get("measures", 1)
    if measures != MEASURES:
        raise ValueError(
            f"{folder} holds a study of another version of ann2neo, in which relative_fano_factor is not "
            "over (n − 1)/n · (1 − p): go on with that version, or take another folder"
        )
    there = read_study(folder)
    other = {name: value for name, value in there.settings.items() if study.settings[name] != value}
    if other:
        differ = ", ".join(f"{name} {value} (now {study.settings[name]})" for name, value in other.items())
        raise ValueError(f"{folder} holds a study with {differ}: give it the same, or take another folder")
    names: dict[str, Any] = {
        name: tuple(dict.fromkeys([*getattr(there, name), *getattr(study, name)]))
        for name in ("data", "architectures", "regimes")
    }
    return replace(there, **names, seeds=max(there.seeds, study.seeds))

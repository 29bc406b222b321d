"""Summaries in files: checkpoints of a run, and parts of one to be merged."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..interop.atomic import written_whole
from .summary import Summary

ARRAYS = ("units", "threshold", "correlated", "state", "complexity", "coactive", "histogram")
"""What is kept of each layer, besides name and shape."""


def write_summary(summary: Summary, path: str | os.PathLike[str]) -> Path:
    """Write all that was added up to a ``.npz`` file, which appears under its name when complete.

    Raises
    ------
    ValueError
        If the suffix is not ``.npz``.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = Summary(window=2).update({"relu": torch.rand(9, 4) - 0.5})
    ...     path = write_summary(summary, f"{folder}/part.npz")
    ...     read_summary(path).units.equals(summary.units)
    True
    """
    path = Path(path)
    check_can_be_kept(path)
    state = summary.to("cpu").state_dict()
    layers = state["layers"]
    about = {**state["settings"], "layers": [{"name": a["name"], "shape": a["shape"]} for a in layers]}
    arrays = {
        f"{i}/{name}": layer[name].numpy() for i, layer in enumerate(layers) for name in ARRAYS & layer.keys()
    }
    with written_whole(path) as part:
        np.savez(part, about=json.dumps(about), complexity=state["complexity"].numpy(), **arrays)
    return path


def check_can_be_kept(path: Path) -> None:
    """Raise what :func:`write_summary` would raise, before the work is done whose result is to be kept."""
    _check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be saved: there is no folder {path.parent}")


def read_summary(path: str | os.PathLike[str]) -> Summary:
    """Read a summary that :func:`write_summary` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the suffix is not ``.npz``, or the file is damaged or holds no summary.
    """
    with _contents(Path(path)) as file:
        return Summary.from_state_dict(_state(file))


@contextmanager
def _contents(path: Path) -> Iterator[Any]:
    _check_suffix(path)
    with path.open("rb") as opened:
        try:
            with np.load(opened, allow_pickle=False) as file:
                yield file
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile, OSError, TypeError) as error:
            raise ValueError(
                f"{path} is damaged, incomplete, or not a summary of ann2neo "
                f"({type(error).__name__}: {error})"
            ) from error


def _state(file: Any) -> dict[str, Any]:
    settings = json.loads(str(file["about"]))
    layers = settings.pop("layers")
    for i, layer in enumerate(layers):
        names = [name for name in ARRAYS if f"{i}/{name}" in file]
        layer.update({name: torch.from_numpy(file[f"{i}/{name}"]) for name in names})
    return {"settings": settings, "complexity": torch.from_numpy(file["complexity"]), "layers": layers}


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: a summary is kept in a .npz file")

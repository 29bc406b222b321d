"""Summaries in files: checkpoints of a run, and parts of one to be merged."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

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
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     summary = Summary(window=2).update({"relu": torch.rand(9, 4) - 0.5})
    ...     path = write_summary(summary, f"{folder}/part.npz")
    ...     read_summary(path).units.equals(summary.units)
    True
    """
    path = Path(path)
    _check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be saved: there is no folder {path.parent}")
    state = summary.to("cpu").state_dict()
    layers = state["layers"]
    about = {**state["settings"], "layers": [{"name": a["name"], "shape": a["shape"]} for a in layers]}
    arrays = {
        f"{i}/{name}": layer[name].numpy() for i, layer in enumerate(layers) for name in ARRAYS & layer.keys()
    }
    with tempfile.TemporaryDirectory(prefix=".ann2neo-", dir=path.parent) as folder:
        part = Path(folder) / "part.npz"
        with part.open("wb") as file:
            np.savez(file, about=json.dumps(about), complexity=state["complexity"].numpy(), **arrays)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    return path


def read_summary(path: str | os.PathLike[str]) -> Summary:
    """Read a summary that :func:`write_summary` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the suffix is not ``.npz``, or the file is damaged or holds no summary.
    """
    path = Path(path)
    _check_suffix(path)
    with path.open("rb") as opened:
        return _read(path, opened)


def _read(path: Path, opened: BinaryIO) -> Summary:
    try:
        with np.load(opened, allow_pickle=False) as file:
            return Summary.from_state_dict(_state(file))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, OSError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, incomplete, or not a summary of ann2neo ({type(error).__name__}: {error})"
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

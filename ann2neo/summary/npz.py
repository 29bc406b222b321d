"""The state of a summary in a ``.npz`` file: checkpoints of a run, and parts of one to be merged."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..interop.atomic import written_whole
from ..recording.annotations import as_json

ARRAYS = ("units", "threshold", "correlated", "state", "complexity", "coactive", "histogram")
"""What is kept of each layer, besides its name, its shape and where its channels are."""


def write_state(state: Mapping[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the state_dict of a summary to a file, which appears under its name when it is complete.

    Raises
    ------
    ValueError
        If the suffix is not ``.npz``, or JSON cannot keep an annotation.
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from ann2neo import Summary
    >>> state = Summary(window=2).update({"relu": torch.rand(9, 4) - 0.5}).state_dict()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = write_state(state, f"{folder}/part.npz")
    ...     read_state(path)["settings"] == state["settings"]
    True
    """
    path = Path(path)
    check_can_be_kept(path)
    layers = state["layers"]
    names = [{name: layer[name] for name in ("name", "shape", "channel_dim")} for layer in layers]
    about = as_json({**state["settings"], "layers": names})
    arrays = {
        f"{i}/{name}": layer[name].cpu().numpy()
        for i, layer in enumerate(layers)
        for name in ARRAYS
        if name in layer
    }
    with written_whole(path) as part:
        np.savez(part, about=about, complexity=state["complexity"].cpu().numpy(), **arrays)
    return path


def check_can_be_kept(path: Path) -> None:
    """Raise what :func:`write_state` would raise, before the work is done whose result is to be kept."""
    _check_suffix(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be saved: there is no folder {path.parent}")


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the state_dict that :func:`write_state` wrote.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the suffix is not ``.npz``, or the file is damaged or holds no summary.
    """
    with _opened(Path(path)) as file:
        settings = json.loads(str(file["about"]))
        layers = settings.pop("layers")
        for i, layer in enumerate(layers):
            names = [name for name in ARRAYS if f"{i}/{name}" in file]
            layer.update({name: torch.from_numpy(file[f"{i}/{name}"]) for name in names})
        complexity = torch.from_numpy(file["complexity"])
        return {"settings": settings, "complexity": complexity, "layers": layers}


def place_of(path: Path) -> tuple[int, int]:
    """Return the first bin and the number of bins of the summary in a file, without reading its sums.

    Raises
    ------
    FileNotFoundError, ValueError
        As by :func:`read_state`.
    """
    with _opened(path) as file:
        about = json.loads(str(file["about"]))
        return about["start"], about["n_bins"]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    _check_suffix(path)
    with path.open("rb") as opened, damage_named(path), np.load(opened, allow_pickle=False) as file:
        yield file


@contextmanager
def damage_named(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in an error of the block, which comes from damage or from another content."""
    try:
        yield
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, OSError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, incomplete, or not a summary of ann2neo ({type(error).__name__}: {error})"
        ) from error


def _check_suffix(path: Path) -> None:
    if path.suffix.lower() != ".npz":
        raise ValueError(f"{path}: a summary is kept in a .npz file: give a name that ends in .npz")

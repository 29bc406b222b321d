"""The demo: train, record, test and draw, and leave everything in a folder."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from ... import plot
from ...analysis.caveats import BERNOULLI, REPEATS, SHUFFLED
from ...analysis.poisson import fit_poisson
from ...files.save_load import save
from ...interop.extras import check_installed
from ...plot.shown import save_figure
from ...recording.recording import Recording
from ...summary.of_recording import summarize_recording
from .networks import WIDTHS, digits, record_networks, train_networks
from .tables import LEGEND, WINDOW, as_text, layers_table, networks_table, units_table

if TYPE_CHECKING:
    import pandas as pd


def run(
    folder: str | os.PathLike[str] = "ann2neo-demo", seed: int = 0, progress: bool = True
) -> pd.DataFrame:
    """Train, record, test and draw three networks; print a table and leave everything in a folder.

    Parameters
    ----------
    folder : path
        Where the files go: ``<network>.nwb`` for ``random``, ``generalizing`` and ``memorizing``;
        ``units.csv``, ``layers.csv``, ``networks.csv``; ``overview.png``. It is made if it does not exist;
        files of these names in it are replaced.
    seed : int
        For everything random. The global random states are neither used nor changed.
    progress : bool
        Show progress bars.

    Returns
    -------
    pandas.DataFrame
        The table in ``networks.csv``: one row a network, the columns of :data:`.TABLE` and ``epochs``.

    Raises
    ------
    ImportError
        If a library of the extra ``demo`` is not installed.
    """
    started = perf_counter()
    check_installed("sklearn", "pynwb", "matplotlib", "viziphant", by="the demo", extra="demo")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    data = digits(seed)
    print(
        f"Three copies of one network ({'-'.join(map(str, WIDTHS))}, ReLU units); {len(data.images)} images "
        "of digits (scikit-learn).\nOne stays as initialised, one learns the digits, one learns shuffled "
        "labels by heart.\n",
        flush=True,
    )
    networks = train_networks(data, seed, progress)
    recordings = record_networks(networks, data, seed, progress)
    summaries = {name: summarize_recording(recording, WINDOW) for name, recording in recordings.items()}
    fits = {name: fit_poisson(summary) for name, summary in summaries.items()}
    table = networks_table(networks, summaries, fits)
    caveat = textwrap.fill(f"{SHUFFLED} {BERNOULLI} {REPEATS}", 100)
    checked = _check_with_elephant(recordings)

    for name, recording in tqdm(recordings.items(), "saving", unit=" recordings", disable=not progress):
        save(recording, folder / f"{name}.nwb", overwrite=True)
    units_table(summaries, fits).to_csv(folder / "units.csv", index=False)
    layers_table(summaries, fits).to_csv(folder / "layers.csv", index=False)
    table.to_csv(folder / "networks.csv", index=False)
    if progress:
        tqdm.write("drawing", file=sys.stderr)
    save_figure(plot.overview(recordings, window=WINDOW), folder / "overview.png")
    # saved first: what cannot be printed shall not be lost
    print(as_text(table), LEGEND, "", caveat, "", checked, sep="\n")
    print(_farewell(folder, perf_counter() - started))
    return table


def _check_with_elephant(recordings: Mapping[str, Recording], every: int = 32) -> str:
    """Compute some units again by Elephant, and say how far its values are from those in the table."""
    furthest, n_units = 0.0, 0
    for recording in recordings.values():
        some = recording.select(units=np.arange(recording.n_units) % every == 0)
        ours, theirs = (summarize_recording(some, WINDOW, engine).values for engine in ("raster", "elephant"))
        n_units += some.n_units
        for name, values in theirs.items():
            if not np.array_equal(np.isnan(values), np.isnan(ours[name])):
                furthest = np.inf
            difference = np.abs(ours[name] - values) / np.maximum(np.abs(values), 1e-300)
            furthest = max(furthest, np.nanmax(difference))
    return (
        f"Elephant {version('elephant')} itself, called on the Neo SpikeTrains of {n_units} of the units "
        f"(engine='elephant'):\nlargest relative difference from the values above {furthest:.0e}."
    )


def _farewell(folder: Path, seconds: float) -> str:
    return f"""
Done in {seconds:.0f} s. In {folder} (a second run replaces these files):
  random.nwb, generalizing.nwb, memorizing.nwb   the spikes, for any NWB reader
  networks.csv, layers.csv, units.csv            the table above; the same for each layer; every unit
  overview.png                                   rasters, rates, Fano factor against rate

Try next:
  ann2neo info {folder / "memorizing.nwb"}
  ann2neo summarize {folder / "memorizing.nwb"}
and in Python, with or without ann2neo:
  recording = ann2neo.load("{folder / "memorizing.nwb"}")
  block = neo.io.NWBIO("{folder / "memorizing.nwb"}", mode="r").read_block()
Then the tutorial, tutorials/01_first_recording.py: a network of your own, and Elephant on its Block."""

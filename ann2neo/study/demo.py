"""One network before training, one that generalizes and one that memorizes: recorded, tested, drawn.

The whole road on real images and without a download: ``ann2neo demo`` on the command line.
"""

from __future__ import annotations

import copy
import os
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from .. import plot
from ..analysis.caveats import BERNOULLI, REPEATS, SHUFFLED
from ..analysis.poisson import PoissonFit, fit_poisson
from ..files.save_load import save
from ..interop.extras import check_installed
from ..model.recorder import record
from ..recording.recording import Recording
from ..summary.of_recording import summarize_recording
from ..summary.summary import Summary
from .data import load_data
from .networks import mlp
from .training import Training, accuracy, train

if TYPE_CHECKING:
    import pandas as pd


WIDTHS = (64, 256, 256, 128, 10)
"""Inputs, hidden units of the three layers, classes."""

N_TRIALS = 5

WINDOW = 20
"""Bins in a counting window: 87 windows in the five trials of 359 or 360 images."""

HELD_OUT_GOAL = 0.97

TRAINING_GOAL = 0.99

MOST_EPOCHS = 300


@dataclass(frozen=True)
class Digits:
    """Scikit-learn's digits, 1797 real images of 8 × 8 pixels, divided into training and held-out ones.

    Parameters
    ----------
    images : torch.Tensor
        float32 (n_images, 64) between 0 and 1.
    labels : torch.Tensor
        int64 (n_images,), the digit.
    training, held_out : torch.Tensor
        int64, which images are for training (three quarters) and which are kept for testing.
    """

    images: torch.Tensor
    labels: torch.Tensor
    training: torch.Tensor
    held_out: torch.Tensor


def digits(seed: int = 0) -> Digits:
    """Return the digits that scikit-learn carries, divided at random.

    Raises
    ------
    ImportError
        If scikit-learn is not installed.

    Examples
    --------
    >>> data = digits()
    >>> data.images.shape, len(data.training), len(data.held_out)
    (torch.Size([1797, 64]), 1347, 450)
    """
    stimuli = load_data("digits", shuffle=False)
    images = torch.stack([image.flatten() for image, _ in stimuli])
    labels = torch.as_tensor(stimuli.labels)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
    n_training = len(images) * 3 // 4
    return Digits(images, labels, order[:n_training], order[n_training:])


@dataclass(frozen=True)
class Trained:
    """A network of the demo, what it has learned and how well.

    Parameters
    ----------
    model : torch.nn.Module
        The network.
    labels : str
        The labels it learned: ``"none"``, ``"true"`` or ``"shuffled"``.
    goal : str
        What its training was to reach, ``"none"`` without training.
    training : Training
        How the training ended.
    training_accuracy : float
        On the training images, with the labels it learned (true ones if it learned none).
    held_out_accuracy : float
        On the held-out images, with their true labels.
    """

    model: nn.Module
    labels: str
    goal: str
    training: Training
    training_accuracy: float
    held_out_accuracy: float


def train_networks(
    data: Digits, seed: int = 0, progress: bool = False, epochs: int = MOST_EPOCHS
) -> dict[str, Trained]:
    """Train a network on true and one on shuffled labels, both from the initialisation of a third.

    Parameters
    ----------
    data : Digits
        Images and labels.
    seed : int
        For initialisation, order of training and shuffling of labels.
    progress : bool
        Show progress bars.
    epochs : int
        Give up after so many.

    Returns
    -------
    dict of str to Trained
        ``random`` as initialised; ``generalizing`` trained until 97 % of the held-out images are
        classified correctly; ``memorizing`` trained on the same images with their labels permuted, until
        it knows 99 % of these.
    """
    x, y = data.images[data.training], data.labels[data.training]
    x_held_out, y_held_out = data.images[data.held_out], data.labels[data.held_out]
    shuffled = y[torch.from_numpy(np.random.default_rng([seed, 1]).permutation(len(y)))]
    initial = mlp(WIDTHS, seed)

    def generalizes(model: nn.Module) -> bool:
        return accuracy(model, x_held_out, y_held_out) >= HELD_OUT_GOAL

    def memorizes(model: nn.Module) -> bool:
        return accuracy(model, x, shuffled) >= TRAINING_GOAL

    def trained(name: str, labels: str, goal: str, until: Callable[[nn.Module], bool] | None) -> Trained:
        model, training = copy.deepcopy(initial), Training(0, True)
        learned = shuffled if labels == "shuffled" else y
        if until is not None:
            bar = f"training, {name}" * progress
            training = train(model, x, learned, until=until, epochs=epochs, seed=seed, progress=bar)
        scores = accuracy(model, x, learned), accuracy(model, x_held_out, y_held_out)
        return Trained(model, labels, goal, training, *scores)

    with _one_thread():
        return {
            "random": trained("random", "none", "none", None),
            "generalizing": trained("generalizing", "true", f"{HELD_OUT_GOAL:.0%} held-out", generalizes),
            "memorizing": trained("memorizing", "shuffled", f"{TRAINING_GOAL:.0%} training", memorizes),
        }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: for networks this small, a second one costs more than it brings."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


@dataclass(frozen=True)
class Row:
    """A row of the printed table: column of ``networks.csv``, how it is printed, what it says."""

    name: str
    form: str
    label: str


TABLE = (
    Row("labels", "{}", "labels learned"),
    Row("goal", "{}", "accuracy to train for"),
    Row("reached", "{}", "reached"),
    Row("training_accuracy", "{:.1%}", "accuracy on training images"),
    Row("held_out_accuracy", "{:.1%}", "accuracy on held-out images"),
    Row("mean_firing_rate_mean", "{:.1f}", "firing rate (Hz): mean over units"),
    Row("mean_firing_rate_var", "{:.0f}", "  variance over units (Hz²)"),
    Row("fano_factor_mean", "{:.3f}", "Fano factor: mean over units"),
    Row("fano_factor_var", "{:.4f}", "  variance over units"),
    Row("relative_fano_factor_mean", "{:.3f}", "Fano factor / (1 − p): mean over units"),
    Row("relative_fano_factor_var", "{:.4f}", "  variance over units"),
    Row("poisson_dispersion_rejected", "{:.1%}", "rejected as Poisson, by counts"),
    Row("exponential_isi_rejected", "{:.1%}", "  by intervals"),
    Row("binomial_dispersion_rejected", "{:.1%}", "rejected as Bernoulli, by counts"),
    Row("geometric_isi_rejected", "{:.1%}", "  by intervals"),
    Row("dead_fraction", "{:.1%}", "dead units"),
    Row("always_on_fraction", "{:.1%}", "always-on units"),
)
"""The table that the demo prints, row by row."""

LEGEND = f"""\
  accuracy          on training images: with the labels learned; on held-out images: with the true ones
                    (which also decide when the generalizing network has learned enough)
  p                 fraction of the images at which a unit is active (output > 0); an image lasts 1 ms
  firing rate       p / 1 ms: a unit that is active at every image has 1000 Hz
  Fano factor       variance / mean of a unit's spike counts in windows of {WINDOW} images
  1 − p             the Fano factor of independent images: at most one spike an image, unlike Poisson's 1
  rejected          fraction of the units that could be tested, at a false discovery rate of 5 %:
                    counts in windows by dispersion tests; intervals by a Kolmogorov–Smirnov test
                    (exponential: Poisson) and by a chi-square test (geometric: Bernoulli)
  dead, always-on   active at none, at all of the images; means and variances leave out units for
                    which a value is not defined, as the Fano factor of a dead unit"""


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
        What ``networks.csv`` holds: one row a network, the columns of :data:`TABLE` and ``epochs``.

    Raises
    ------
    ImportError
        If one of the extra ``demo`` is not installed.
    """
    started = perf_counter()
    _require_extras()
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
    table = _networks_table(networks, summaries, fits)
    caveat = textwrap.fill(f"{SHUFFLED} {BERNOULLI} {REPEATS}", 100)
    print(_as_text(table), LEGEND, "", caveat, "", _check_with_elephant(recordings), sep="\n")

    for name, recording in tqdm(recordings.items(), "saving", unit=" recordings", disable=not progress):
        save(recording, folder / f"{name}.nwb", overwrite=True)
    _units_table(summaries, fits).to_csv(folder / "units.csv", index=False)
    _layers_table(summaries, fits).to_csv(folder / "layers.csv", index=False)
    table.to_csv(folder / "networks.csv", index=False)
    if progress:
        tqdm.write("drawing", file=sys.stderr)
    plot.overview(recordings, window=WINDOW).savefig(folder / "overview.png")
    print(_farewell(folder, perf_counter() - started))
    return table


def _require_extras() -> None:
    check_installed("sklearn", "pynwb", "matplotlib", "viziphant", by="the demo", extra="demo")


def record_networks(
    networks: Mapping[str, Trained], data: Digits, seed: int = 0, progress: bool = False
) -> dict[str, Recording]:
    """Record all hidden units of networks over all images, in one random order that each recording keeps.

    ``stimuli.ids`` of the recordings are the numbers of the images, ``stimuli.labels`` the digits.
    """
    order = np.random.default_rng([seed, 2]).permutation(len(data.images))
    recordings = {}
    for name, network in tqdm(networks.items(), "recording", unit=" networks", disable=not progress):
        about = {
            "network": name,
            "dataset": "scikit-learn digits",
            "labels_learned": network.labels,
            "epochs": network.training.epochs,
            "training_accuracy": network.training_accuracy,
            "held_out_accuracy": network.held_out_accuracy,
        }
        recordings[name] = record(
            network.model,
            data.images[order],
            ids=order,
            labels=data.labels[order],
            n_trials=N_TRIALS,
            seed=seed,
            annotations=about,
        )
    return recordings


def _networks_table(
    networks: Mapping[str, Trained], summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]
) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for name, network in networks.items():
        training = network.training
        own = {
            "labels": network.labels,
            "goal": network.goal,
            "epochs": training.epochs,
            "reached": _reached(training),
            "training_accuracy": network.training_accuracy,
            "held_out_accuracy": network.held_out_accuracy,
        }
        measured = {**summaries[name].layers.iloc[-1], **fits[name].layers.iloc[-1]}
        rows.append(
            {"network": name, **own, **{r.name: measured[r.name] for r in TABLE if r.name not in own}}
        )
    return pd.DataFrame(rows)


def _reached(training: Training) -> str:
    if not training.epochs:
        return "untrained"
    return ("yes" if training.reached else "NO") + f", {training.epochs} epochs"


def _as_text(table: pd.DataFrame) -> str:
    label_width, width = max(len(row.label) for row in TABLE), 16
    lines = ["network".ljust(label_width) + "".join(f"{name:>{width}}" for name in table["network"])]
    lines += ["─" * len(lines[0])]
    for row in TABLE:
        cells = (row.form.format(value) for value in table[row.name])
        lines.append(row.label.ljust(label_width) + "".join(f"{cell:>{width}}" for cell in cells))
    lines += ["─" * len(lines[0])]
    for missed in table[table["reached"].str.startswith("NO")].itertuples():
        lines.append(f"NOTE: the {missed.network} network did NOT reach its goal of {missed.goal} accuracy.")
    return "\n".join(lines)


def _check_with_elephant(recordings: Mapping[str, Recording], every: int = 32) -> str:
    """Compute some units again by Elephant, and say how far the values in the table are from its own."""
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


def _units_table(summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]) -> pd.DataFrame:
    return _side_by_side({n: s.units for n, s in summaries.items()}, {n: f.units for n, f in fits.items()})


def _layers_table(summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]) -> pd.DataFrame:
    return _side_by_side({n: s.layers for n, s in summaries.items()}, {n: f.layers for n, f in fits.items()})


def _side_by_side(left: Mapping[str, pd.DataFrame], right: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join tables with the same rows, leaving out columns twice there, for all networks."""
    import pandas as pd

    joined = {n: left[n].join(right[n].drop(columns=left[n].columns, errors="ignore")) for n in left}
    return pd.concat(joined, names=["network"]).reset_index("network").reset_index(drop=True)


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

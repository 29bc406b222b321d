"""The paper's study with controls: networks that memorize beside those that generalize, cell by cell.

A cell is one data set, one architecture, one regime of training and one seed. Each is stored when it is
done, so that a study that was killed goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ..analysis.memorization import distributions, indicators
from ..model.recorder import record
from ..recording.recording import Recording
from ..summary.of_recording import summarize_recording
from .data import StimulusSet, load_data
from .networks import ARCHITECTURES, network
from .regimes import REGIMES, Regime, labels_of
from .training import Training, accuracy, train

if TYPE_CHECKING:
    import pandas as pd


LOOKS = (0, 1, 3, 10, 30, 100, 300)
"""After these epochs, and after the last, a network is recorded."""

MOST_UNITS_KEPT = 500
"""Of the last look at a network so many units are kept one by one, for figures."""


@dataclass(frozen=True)
class Study:
    """The grid of a study, and what is the same in all its cells.

    Parameters
    ----------
    data : tuple of str
        Names as for :func:`ann2neo.study.data.load_data`.
    architectures : tuple of str
        Of :data:`ann2neo.study.networks.ARCHITECTURES`.
    regimes : tuple of str
        Of :data:`ann2neo.study.regimes.REGIMES`; what one of them needs must be among them.
    seeds : int
        How many, from 0: of weights, images, labels and order of training.
    n_training, n_few : int
        Training images, and those of the regimes with few.
    n_stimuli : int
        Training images, and as many test images, that are recorded (all, if there are less).
    epochs : int
        Training by Adam gives up after so many.
    sgd_epochs : int
        Length of training by SGD, whose learning rate falls along a cosine over all of it.
    goal : float
        Accuracy on the training images, with the labels learned, at which training ends.
    batch_size : int
        Images in a step of training.
    learning_rate, sgd_learning_rate : float
        Of Adam, and the first one of SGD.
    weight_decay : float
        Of the regimes with weight decay.
    units : int
        Units sampled from each layer, the same in all regimes.
    threshold : float
        A unit spikes when its activation exceeds it.
    window, n_orders : int
        As for :func:`ann2neo.analysis.memorization.indicators`.

    Examples
    --------
    >>> study = Study(data=("digits",), architectures=("mlp",), regimes=("random", "generalizing"), seeds=2)
    >>> [str(cell) for cell in study.cells]
    ['digits-mlp-random-0', 'digits-mlp-generalizing-0', 'digits-mlp-random-1', 'digits-mlp-generalizing-1']
    """

    data: tuple[str, ...] = ("digits",)
    architectures: tuple[str, ...] = ("mlp",)
    regimes: tuple[str, ...] = tuple(REGIMES)
    seeds: int = 3
    n_training: int = 1000
    n_few: int = 200
    n_stimuli: int = 1000
    epochs: int = 150
    sgd_epochs: int = 100
    goal: float = 0.99
    batch_size: int = 64
    learning_rate: float = 1e-3
    sgd_learning_rate: float = 0.05
    weight_decay: float = 0.1
    units: int = 256
    threshold: float = 0.0
    window: int = 20
    n_orders: int = 5

    def __post_init__(self) -> None:
        for what, known in (("architectures", ARCHITECTURES), ("regimes", REGIMES)):
            unknown = [name for name in getattr(self, what) if name not in known]
            if unknown:
                raise ValueError(f"{what}: {unknown[0]!r} is none of {', '.join(known)}")
        for name in self.regimes:
            needs = REGIMES[name].needs
            if needs is not None and needs not in self.regimes:
                raise ValueError(f"regime {name!r} needs {needs!r}: add that, too")
        counts = (
            "seeds",
            "n_training",
            "n_few",
            "n_stimuli",
            "epochs",
            "sgd_epochs",
            "batch_size",
            "units",
            "n_orders",
        )
        for name in (*counts, "window"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: give at least one")
        if not 0 < self.goal <= 1:
            raise ValueError(f"goal={self.goal}: give an accuracy between 0 and 1")

    @property
    def cells(self) -> list[Cell]:
        """All cells, those of one seed together."""
        return [
            Cell(data, architecture, regime, seed)
            for seed in range(self.seeds)
            for data in self.data
            for architecture in self.architectures
            for regime in self.regimes
        ]

    @property
    def settings(self) -> dict[str, Any]:
        """What must be the same when a study goes on: everything but the grid, which may grow."""
        grid = ("data", "architectures", "regimes", "seeds")
        return {name: value for name, value in asdict(self).items() if name not in grid}


@dataclass(frozen=True)
class Cell:
    """One network of a study."""

    data: str
    architecture: str
    regime: str
    seed: int

    def __str__(self) -> str:
        return f"{self.data}-{self.architecture}-{self.regime}-{self.seed}"


@dataclass(frozen=True)
class Images:
    """Images and true labels of one seed: for training, and for testing."""

    x: torch.Tensor
    y: torch.Tensor
    ids: np.ndarray
    x_test: torch.Tensor
    y_test: torch.Tensor
    ids_test: np.ndarray

    @property
    def n_classes(self) -> int:
        """Number of classes, of which the training images have every one."""
        return int(self.y.max()) + 1

    def to(self, device: torch.device) -> Images:
        """Move to a device."""
        x, y, x_test, y_test = (each.to(device) for each in (self.x, self.y, self.x_test, self.y_test))
        return Images(x, y, self.ids, x_test, y_test, self.ids_test)


def images(study: Study, data: str, seed: int, *, root: Any = None, download: bool = False) -> Images:
    """Draw the images of one seed from a data set: the same for all regimes and architectures.

    Raises
    ------
    ValueError
        If there are not as many, or the training images lack a class.
    FileNotFoundError
        If the data are not there; it says where they can be had.

    Examples
    --------
    >>> drawn = images(Study(n_training=1000, n_stimuli=500), "digits", seed=0)
    >>> drawn.x.shape, drawn.x_test.shape, drawn.n_classes
    (torch.Size([1000, 1, 8, 8]), torch.Size([500, 1, 8, 8]), 10)
    """
    if data == "digits":
        whole = load_data(data, seed=seed)
        training, test = whole[: study.n_training], whole[study.n_training :]
    else:
        where = {"root": root, "download": download}
        training, test = (load_data(data, split=split, seed=seed, **where) for split in ("train", "test"))
    if len(training) < study.n_training or not len(test):
        raise ValueError(f"n_training={study.n_training}: {data} has {len(training) + len(test)} images")
    training, test = training[: study.n_training], test[: study.n_stimuli]
    (x, y), (x_test, y_test) = map(_tensors, (training, test))
    lacking = sorted(set(range(int(y_test.max()) + 1)) - set(y.tolist()))
    if lacking:
        raise ValueError(
            f"n_training={study.n_training}: seed {seed} draws no image of class {lacking[0]} from {data}"
        )
    return Images(x, y, training.ids, x_test, y_test, test.ids)


def _tensors(stimuli: StimulusSet) -> tuple[torch.Tensor, torch.Tensor]:
    assert stimuli.labels is not None
    return torch.stack([image for image, _ in stimuli]), torch.as_tensor(stimuli.labels, dtype=torch.int64)


@dataclass
class _Looks:
    """What is seen of a network along its training."""

    study: Study
    images: Images
    tables: list[pd.DataFrame] = field(default_factory=list)
    spread: list[pd.DataFrame] = field(default_factory=list)

    def record(self, model: nn.Module, split: str) -> Recording:
        of, n = self.images, self.study.n_stimuli
        x, y, ids = (of.x, of.y, of.ids) if split == "training" else (of.x_test, of.y_test, of.ids_test)
        return record(
            model,
            x[:n],
            units=self.study.units,
            threshold=self.study.threshold,
            ids=ids[:n],
            labels=y[:n].cpu(),
            batch_size=250,
        )

    def look(self, model: nn.Module, epoch: int, last: bool) -> None:
        study = self.study
        for split in ("training", "test"):
            recording = self.record(model, split)
            n_orders = study.n_orders if last else 1
            table = indicators(recording, window=study.window, n_orders=n_orders, surrogates=last)
            self.tables.append(table.assign(split=split, epoch=epoch, last=last))
            if last:
                self.spread.append(distributions(recording).assign(split=split))


def _run_cell(study: Study, cell: Cell, folder: Path, device: str, where: Mapping[str, Any]) -> str:
    """Train and record a network, store what was found, and return its status."""
    if device == "cpu":
        torch.set_num_threads(1)  # cells run beside one another
    place = folder / "cells" / str(cell)
    for left in (folder / "cells").glob(f".{cell}-*"):  # by a run that was killed
        shutil.rmtree(left)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{cell}-", dir=folder / "cells"))
    started = perf_counter()
    try:
        told = _train_and_look(study, cell, folder, unfinished, torch.device(device), where)
    except Exception as error:  # whatever it is, the other cells go on, and the report says so
        trace = traceback.format_exc()
        told = {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": trace}
    told = {**asdict(cell), **told, "seconds": round(perf_counter() - started, 1)}
    (unfinished / "cell.json").write_text(json.dumps(told, indent=1))
    if place.exists():
        shutil.rmtree(place)
    unfinished.rename(place)
    return told["status"]


def _train_and_look(
    study: Study, cell: Cell, folder: Path, into: Path, device: torch.device, where: Mapping[str, Any]
) -> dict[str, Any]:
    import pandas as pd

    regime = REGIMES[cell.regime]
    before = folder / "cells" / str(Cell(cell.data, cell.architecture, str(regime.needs), cell.seed))
    if regime.needs is not None and _told(before)["status"] in ("failed", "diverged"):
        raise RuntimeError(f"it needs {before.name}, which {_told(before)['status']}")
    drawn = images(study, cell.data, cell.seed, **where).to(device)
    shape: Any = tuple(drawn.x.shape[1:])
    model = network(cell.architecture, shape, drawn.n_classes, seed=cell.seed).to(device).eval()
    if regime.begins_as is not None:
        model.load_state_dict(torch.load(before / "weights.pt", map_location=device, weights_only=True))
    looks = _Looks(study, drawn)
    n = min(study.n_few, len(drawn.x)) if regime.few else len(drawn.x)
    x, y = drawn.x[:n], drawn.y[:n]
    if regime.noise:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(cell.seed))
        x = noise.to(device) * x.std() + x.mean()
    epochs = study.sgd_epochs if regime.optimizer == "sgd" else study.epochs
    if regime.as_long_as is not None:
        epochs = _told(before)["epochs"]
    whole_length = regime.as_long_as is not None or regime.optimizer == "sgd"
    progress: list[dict[str, float]] = []

    def scores(epoch: int, *, all_of_them: bool) -> dict[str, float]:
        told = {"epoch": epoch, "learned_accuracy": accuracy(model, x, learned(epoch))}
        if all_of_them:
            told["training_accuracy"] = accuracy(model, drawn.x, drawn.y)
            told["test_accuracy"] = accuracy(model, drawn.x_test, drawn.y_test)
        return told

    def learned(epoch: int) -> torch.Tensor:
        return labels_of(regime, y, cell.seed, epoch)

    def until(_: nn.Module) -> bool:
        epoch = int(progress[-1]["epoch"]) + 1
        progress.append(scores(epoch, all_of_them=epoch in LOOKS))
        reached = progress[-1]["learned_accuracy"] >= study.goal
        if epoch in LOOKS and epoch < epochs and (whole_length or not reached):
            looks.look(model, epoch, last=False)
        return reached and not whole_length

    progress.append(scores(0, all_of_them=True))
    training = Training(0, True)
    if regime.labels != "none":
        looks.look(model, 0, last=False)
        training = train(
            model,
            x,
            learned,
            until=until,
            epochs=epochs,
            batch_size=study.batch_size,
            learning_rate=study.sgd_learning_rate if regime.optimizer == "sgd" else study.learning_rate,
            weight_decay=study.weight_decay if regime.weight_decay else 0.0,
            optimizer=regime.optimizer,
            seed=cell.seed,
        )
    if not training.diverged:
        progress[-1] = scores(training.epochs, all_of_them=True)
        looks.look(model, training.epochs, last=True)
    if any(other.begins_as == cell.regime for other in REGIMES.values()):  # the grid may grow
        torch.save(model.state_dict(), into / "weights.pt")
    if looks.tables:
        pd.concat(looks.tables).to_csv(into / "indicators.csv", index=False)
    if looks.spread:
        pd.concat(looks.spread).to_csv(into / "distributions.csv", index=False)
        _some_units(looks.record(model, "training"), study).to_csv(into / "units.csv", index=False)
    pd.DataFrame(progress).to_csv(into / "training.csv", index=False)
    return {
        "status": _status(regime, training, progress[-1], study.goal),
        "epochs": training.epochs,
        **progress[-1],
    }


def _status(regime: Regime, training: Training, scores: Mapping[str, float], goal: float) -> str:
    if training.diverged:
        return "diverged"
    if regime.labels in ("none", "redrawn"):
        return "done"  # there is no accuracy to reach
    return "done" if scores["learned_accuracy"] >= goal else "goal not reached"


def _some_units(recording: Recording, study: Study) -> pd.DataFrame:
    """Return p and the Fano factor, in one random order and sorted by class, of some units."""
    in_order = summarize_recording(recording.shuffle_stimuli(), study.window).units
    in_classes = summarize_recording(recording.sort_stimuli("labels"), study.window).units
    columns = ["layer", "unit", "activation_probability", "fano_factor"]
    table = in_order[columns].assign(sorted_fano_factor=in_classes["fano_factor"])
    return table.iloc[np.linspace(0, len(table) - 1, min(len(table), MOST_UNITS_KEPT)).astype(int)]


def _told(place: Path) -> dict[str, Any]:
    return json.loads((place / "cell.json").read_text())


def _is_done(place: Path) -> bool:
    return (place / "cell.json").exists() and _told(place)["status"] != "failed"


def run_study(
    folder: str | os.PathLike[str],
    study: Study,
    *,
    processes: int | None = None,
    device: str = "cpu",
    root: Any = None,
    download: bool = False,
    progress: bool = False,
) -> Results:
    """Run all cells of a study that are not done yet.

    Parameters
    ----------
    folder : path
        Where cells are stored; made if it does not exist. A study that stopped goes on from what is there,
        another grid of the same settings adds to it; cells that failed are tried again.
    study : Study
        What to run.
    processes : int, optional
        Cells at a time, by default one a core on the CPU, one on a GPU.
    device : str
        Where networks are trained.
    root, download
        As for :func:`ann2neo.study.data.load_data`.
    progress : bool
        Show a progress bar.

    Returns
    -------
    Results
        All that is in the folder. A cell that diverged, failed, or did not reach the accuracy is in
        ``Results.cells`` with this as its ``status``.

    Raises
    ------
    ValueError
        If the folder holds a study with other settings, which the message names.
    FileNotFoundError
        If the data are not there, before anything is run.

    Examples
    --------
    >>> study = Study(regimes=("random",), seeds=1, n_stimuli=200, n_orders=1)
    >>> results = run_study(tempfile.mkdtemp(), study, processes=1)
    >>> results.cells[["data", "architecture", "regime", "seed", "status"]].to_numpy().tolist()
    [['digits', 'mlp', 'random', 0, 'done']]
    """
    folder, where = Path(folder), {"root": root, "download": download}
    together = _with_what_is_there(folder, study)
    for data in study.data:
        images(study, data, 0, **where)  # raises now, not in every cell
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    (folder / "study.json").write_text(json.dumps(asdict(together), indent=1))
    todo = [cell for cell in study.cells if not _is_done(folder / "cells" / str(cell))]
    processes = processes or (1 if device != "cpu" else os.cpu_count() or 1)
    with tqdm(
        total=len(study.cells), initial=len(study.cells) - len(todo), unit=" cells", disable=not progress
    ) as bar:
        for wave in _waves(todo):
            for cell, status in _run_cells(study, wave, folder, device, where, processes):
                bar.update()
                bar.set_postfix_str(f"{cell}: {status}")
    return load_study(folder)


def _with_what_is_there(folder: Path, study: Study) -> Study:
    """Return the study of a folder with its grid extended by that of another, of the same settings."""
    if not (folder / "study.json").exists():
        return study
    there = _read_study(folder)
    other = {name: value for name, value in there.settings.items() if study.settings[name] != value}
    if other:
        differ = ", ".join(f"{name} {value} (now {study.settings[name]})" for name, value in other.items())
        raise ValueError(f"{folder} holds a study with {differ}: give it the same, or take another folder")
    names: dict[str, Any] = {
        name: tuple(dict.fromkeys([*getattr(there, name), *getattr(study, name)]))
        for name in ("data", "architectures", "regimes")
    }
    return replace(there, **names, seeds=max(there.seeds, study.seeds))


def _read_study(folder: Path) -> Study:
    kept = json.loads((folder / "study.json").read_text())
    known: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in kept.items()}
    return Study(**known)


def _waves(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Put cells that need others into a second wave."""
    waves: tuple[list[Cell], list[Cell]] = ([], [])
    for cell in cells:
        waves[REGIMES[cell.regime].needs is not None].append(cell)
    return [wave for wave in waves if wave]


def _run_cells(
    study: Study, cells: list[Cell], folder: Path, device: str, where: Mapping[str, Any], processes: int
) -> Iterator[tuple[Cell, str]]:
    if processes == 1:
        threads = torch.get_num_threads()
        try:
            for cell in cells:
                yield cell, _run_cell(study, cell, folder, device, where)
        finally:
            torch.set_num_threads(threads)
        return
    # a forked process would inherit torch's threads in a state nobody knows
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        futures = {pool.submit(_run_cell, study, cell, folder, device, where): cell for cell in cells}
        try:
            for done in as_completed(futures):
                yield futures[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class Results:
    """What the cells of a study found: tidy tables, all with ``data, architecture, regime, seed``.

    Parameters
    ----------
    study : Study
        What was run.
    cells : pandas.DataFrame
        One row a cell: ``status`` (done, goal not reached, diverged, failed), ``epochs``, accuracies of the
        last epoch, ``seconds``.
    training : pandas.DataFrame
        One row a cell and epoch: accuracy on the labels learned and, at the looks, on the true ones of
        training and test images.
    indicators : pandas.DataFrame
        One row a cell, look (``epoch``, ``last``), ``split`` of the stimuli and layer: the columns of
        :func:`ann2neo.analysis.memorization.indicators`.
    distributions : pandas.DataFrame
        Quantiles of p over units at the last look: see :func:`ann2neo.analysis.memorization.distributions`.
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
    if not (folder / "study.json").exists():
        raise FileNotFoundError(f"there is no study in {folder}: run one, ann2neo study --output {folder}")
    study = _read_study(folder)
    cells = [cell for cell in study.cells if (folder / "cells" / str(cell) / "cell.json").exists()]
    about = pd.DataFrame([_told(folder / "cells" / str(cell)) for cell in cells])
    tables = {}
    for name in ("training", "indicators", "distributions", "units"):
        found = []
        for cell in cells:
            path = folder / "cells" / str(cell) / f"{name}.csv"
            if path.exists():
                table = pd.read_csv(path, dtype={"layer": str})
                for column, value in reversed(asdict(cell).items()):
                    table.insert(0, column, value)
                found.append(table)
        tables[name] = pd.concat(found, ignore_index=True) if found else pd.DataFrame()
    return Results(study, about.drop(columns="traceback", errors="ignore"), **tables)

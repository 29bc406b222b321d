"""One cell of a study: a network is trained and recorded, and what was found is stored."""

from __future__ import annotations

import json
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import nn

from ...summary.remarks import Remark
from ..networks import network
from ..regimes import REGIMES, Regime, labels_of
from ..training import Training, accuracy, train
from .grid import Cell, Study
from .images import Images, images
from .looks import LOOKS, Looks
from .storage import place_of, stored_whole, told_of


def run_cell(study: Study, cell: Cell, folder: Path, device: str, where: Mapping[str, Any]) -> str:
    """Train and record a network, store what was found, and return its status."""
    if device == "cpu":
        torch.set_num_threads(1)  # cells run beside one another
    started = perf_counter()
    with stored_whole(cell, folder) as unfinished:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Remark)  # the study said it once for all cells
                told = _train_and_look(study, cell, folder, unfinished, torch.device(device), where)
        except Exception as error:  # whatever it is, the other cells go on, and the report says so
            trace = traceback.format_exc()
            told = {"status": "failed", "error": f"{type(error).__name__}: {error}", "traceback": trace}
        told = {**asdict(cell), **told, "seconds": round(perf_counter() - started, 1)}
        (unfinished / "cell.json").write_text(json.dumps(told, indent=1))
    return str(told["status"])


def _train_and_look(
    study: Study, cell: Cell, folder: Path, into: Path, device: torch.device, where: Mapping[str, Any]
) -> dict[str, Any]:
    import pandas as pd

    regime = REGIMES[cell.regime]
    before = _cell_before(cell, regime, folder)
    drawn = images(study, cell.data, cell.seed, **where).to(device)
    shape: Any = tuple(drawn.x.shape[1:])
    model = network(cell.architecture, shape, drawn.n_classes, seed=cell.seed).to(device).eval()
    if regime.begins_as is not None:
        weights = place_of(replace(cell, regime=regime.begins_as), folder) / "weights.pt"
        model.load_state_dict(torch.load(weights, map_location=device, weights_only=True))
    x, y = _to_learn(study, regime, drawn, cell.seed)
    epochs = study.sgd_epochs if regime.optimizer == "sgd" else study.epochs
    if regime.as_long_as is not None:
        epochs = before["epochs"]
    whole_length = regime.as_long_as is not None or regime.optimizer == "sgd"
    looks, progress = Looks(study, drawn), list[dict[str, float]]()

    def learned(epoch: int) -> torch.Tensor:
        return labels_of(regime, y, cell.seed, epoch)

    def scores(epoch: int, *, all_of_them: bool) -> dict[str, float]:
        told = {"epoch": epoch, "learned_accuracy": accuracy(model, x, learned(epoch))}
        if all_of_them:
            told["training_accuracy"] = accuracy(model, drawn.x, drawn.y)
            told["test_accuracy"] = accuracy(model, drawn.x_test, drawn.y_test)
        return told

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
    looks.write(into)
    pd.DataFrame(progress).to_csv(into / "training.csv", index=False)
    status = _status(regime, training, progress[-1], study.goal)
    return {"status": status, "epochs": training.epochs, **progress[-1]}


def _cell_before(cell: Cell, regime: Regime, folder: Path) -> dict[str, Any]:
    """Return what was stored of the cell that this one needs, an empty dict if it needs none."""
    if regime.needs is None:
        return {}
    needed = replace(cell, regime=regime.needs)
    told = told_of(needed, folder)
    status = "was not run" if told is None else told["status"]
    if told is None or status in ("failed", "diverged"):
        raise RuntimeError(f"it needs {needed}, which {status}")
    return told


def _to_learn(study: Study, regime: Regime, drawn: Images, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images and true labels that a regime trains with."""
    n = min(study.n_few, len(drawn.x)) if regime.few else len(drawn.x)
    x, y = drawn.x[:n], drawn.y[:n]
    if regime.noise:
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
        x = noise.to(x.device) * x.std() + x.mean()
    return x, y


def _status(regime: Regime, training: Training, scores: Mapping[str, float], goal: float) -> str:
    if training.diverged:
        return "diverged"
    if regime.labels in ("none", "redrawn"):
        return "done"  # there is no accuracy to reach
    return "done" if scores["learned_accuracy"] >= goal else "goal not reached"

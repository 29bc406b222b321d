"""The grid of a study, and the settings that all its cells share."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..networks import ARCHITECTURES
from ..regimes import REGIMES

COUNTS = (
    "seeds",
    "n_training",
    "n_few",
    "n_stimuli",
    "epochs",
    "sgd_epochs",
    "batch_size",
    "units",
    "window",
    "n_orders",
)
"""Settings that are at least one."""


@dataclass(frozen=True)
class Study:
    """The grid of a study, and what is the same in all its cells.

    Parameters
    ----------
    data : tuple of str
        Names of data sets, of :data:`ann2neo.study.data.NAMES`.
    architectures : tuple of str
        Names of :data:`ann2neo.study.networks.ARCHITECTURES`.
    regimes : tuple of str
        Names of :data:`ann2neo.study.regimes.REGIMES`. If a regime needs another, name that one, too.
    seeds : int
        The seeds are 0, 1, …, ``seeds - 1``. A seed draws weights, images, labels and the order of training.
    n_training, n_few : int
        Number of training images, and that in regimes with few images.
    n_stimuli : int
        So many training images, and as many test images, are recorded (all, if there are fewer).
    epochs : int
        Training by Adam gives up after so many epochs.
    sgd_epochs : int
        Length of training by SGD. Its learning rate falls along a cosine over all these epochs.
    goal : float
        Training ends at this accuracy on the training images, with the labels learned.
    batch_size : int
        Images in a step of training.
    learning_rate, sgd_learning_rate : float
        The learning rate of Adam, and the first learning rate of SGD.
    weight_decay : float
        The weight decay of regimes that have one.
    units : int
        Units sampled from each layer, the same in all regimes.
    threshold : float
        A unit spikes when its activation exceeds this value.
    window : int
        Bins in a counting window.
    n_orders : int
        At the last look, indicators that depend on the order of stimuli are means over so many orders.

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
                raise ValueError(f"{what}: unknown {unknown[0]!r}: give some of {', '.join(known)}")
        for name in self.regimes:
            needs = REGIMES[name].needs
            if needs is not None and needs not in self.regimes:
                raise ValueError(f"regime {name!r} needs regime {needs!r}: add it to regimes")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: give at least one")
        if not 0 < self.goal <= 1:
            raise ValueError(f"goal={self.goal}: give an accuracy above 0 and at most 1")

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
        """Everything but the grid. A study that goes on needs the same settings; its grid may grow."""
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

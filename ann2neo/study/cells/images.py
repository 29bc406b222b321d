"""The images of a study: drawn by seed, the same for all regimes and architectures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..data import StimulusSet, load_data
from .grid import Study


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
        If there are too few images, or the training images lack a class.
    FileNotFoundError
        If the data are not there. The message says how to get them.

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
        raise ValueError(
            f"n_training={study.n_training}: {data} has {len(training) + len(test)} images in all, give fewer"
        )
    training, test = training[: study.n_training], test[: study.n_stimuli]
    (x, y), (x_test, y_test) = map(_tensors, (training, test))
    lacking = sorted(set(range(int(y_test.max()) + 1)) - set(y.tolist()))
    if lacking:
        raise ValueError(
            f"n_training={study.n_training}: seed {seed} draws no image of class {lacking[0]} from {data}, "
            "give more"
        )
    return Images(x, y, training.ids, x_test, y_test, test.ids)


def _tensors(stimuli: StimulusSet) -> tuple[torch.Tensor, torch.Tensor]:
    assert stimuli.labels is not None
    return torch.stack([image for image, _ in stimuli]), torch.as_tensor(stimuli.labels, dtype=torch.int64)

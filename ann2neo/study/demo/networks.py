"""The three networks of the demo: their images, their training, their recordings."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ...model.recorder import record
from ...recording.recording import Recording
from ..data import load_data
from ..networks import mlp
from ..training import Training, accuracy, train

WIDTHS = (64, 256, 256, 128, 10)
"""Inputs, hidden units of the three layers, classes."""

N_TRIALS = 5

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
        int64, numbers of the images for training (three quarters) and of those kept for testing.
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
        The accuracy that its training had to reach, ``"none"`` without training.
    training : Training
        How the training ended.
    training_accuracy : float
        On the training images, with the labels it learned (true labels if it learned none).
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
    """Train one network on true labels and one on shuffled labels, both from the weights of a third.

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
        ``random``, as initialised; ``generalizing``, trained until it classifies 97 % of the held-out images
        correctly; ``memorizing``, trained on the same images with permuted labels, until it knows 99 % of
        these labels.
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

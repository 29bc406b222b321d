"""Training of classifiers on images in memory, until they reach a goal."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from tqdm import tqdm

from ..model.runs.evaluation import evaluation

MOMENTUM = 0.9
"""The momentum of stochastic gradient descent."""

OPTIMIZERS = ("adam", "sgd")

AT_ONCE = 500
"""Stimuli in a forward pass without gradients."""


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the fraction of stimuli for which the largest output is that of the label.

    The model is in evaluation mode meanwhile; then each of its modules is in the mode it was in.

    Examples
    --------
    >>> accuracy(nn.Identity(), torch.eye(2), torch.tensor([0, 0]))
    0.5
    """
    with evaluation(model, None):
        guessed = torch.cat([model(some).argmax(dim=1) for some in torch.split(x, AT_ONCE)])
    return (guessed == y).float().mean().item()


@dataclass(frozen=True)
class Training:
    """How a training ended: after how many epochs, whether its goal was reached, whether it diverged."""

    epochs: int
    reached: bool
    diverged: bool = False


def train(
    model: nn.Module,
    x: torch.Tensor,
    y: torch.Tensor | Callable[[int], torch.Tensor],
    *,
    until: Callable[[nn.Module], bool],
    epochs: int,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.0,
    optimizer: str = "adam",
    seed: int = 0,
    progress: str = "",
) -> Training:
    """Train a classifier in place, on the cross-entropy, until it reaches a goal.

    Parameters
    ----------
    model : torch.nn.Module
        Gives one output a class. All its modules are in training mode meanwhile, and in evaluation mode
        afterwards.
    x : torch.Tensor
        (n_stimuli, …), on the model's device.
    y : torch.Tensor or callable
        int64 (n_stimuli,), the labels to learn; or a function from the epoch, counted from 1, to them.
    until : callable
        The goal: called with the model after every epoch, returns whether the goal is reached.
    epochs : int
        Give up after so many epochs.
    batch_size : int
        Stimuli in a step. A last step with a single stimulus is left out: batch normalisation needs two.
    learning_rate : float
        The learning rate of the optimizer.
    weight_decay : float
        Decoupled from the gradient (AdamW) with Adam, added to it with stochastic gradient descent.
    optimizer : {"adam", "sgd"}
        ``"sgd"`` has a momentum of 0.9 and lowers its learning rate to 0 along a cosine over ``epochs``.
    seed : int
        For the order of the stimuli, a new one each epoch.
    progress : str
        Name of the progress bar; without a name there is none.

    Returns
    -------
    Training
        ``diverged`` if the loss or a weight became infinite or NaN; training ends there.

    Raises
    ------
    ValueError
        If the optimizer is unknown.

    Examples
    --------
    >>> model, x = nn.Linear(2, 2), torch.eye(2)
    >>> train(model, x, torch.tensor([0, 1]), until=lambda m: False, epochs=3)
    Training(epochs=3, reached=False, diverged=False)
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: give one of {OPTIMIZERS}")
    parameters = model.parameters()
    stepper: torch.optim.Optimizer
    if optimizer == "adam":
        # fused: on a CPU the plain one takes a third of the step of a ResNet
        stepper = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, fused=True)
    else:
        stepper = torch.optim.SGD(parameters, lr=learning_rate, momentum=MOMENTUM, weight_decay=weight_decay)
    generator = torch.Generator().manual_seed(seed)
    with tqdm(desc=progress, unit=" epochs", disable=not progress) as bar:
        for epoch in range(1, epochs + 1):
            if optimizer == "sgd":
                for group in stepper.param_groups:
                    group["lr"] = learning_rate * (1 + math.cos(math.pi * (epoch - 1) / epochs)) / 2
            labels = y(epoch) if callable(y) else y
            model.train()
            for batch in torch.randperm(len(x), generator=generator).split(batch_size):
                if len(batch) == 1 < len(x):
                    continue
                stepper.zero_grad()
                loss = nn.functional.cross_entropy(model(x[batch]), labels[batch])
                if not loss.isfinite():
                    model.eval()
                    return Training(epoch, False, diverged=True)
                loss.backward()
                stepper.step()
            model.eval()
            bar.update()
            if not all(weights.isfinite().all() for weights in model.parameters()):  # by the last step
                return Training(epoch, False, diverged=True)
            if until(model):
                return Training(epoch, True)
    return Training(epochs, False)

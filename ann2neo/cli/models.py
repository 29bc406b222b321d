"""Models by name: torchvision's, or the user's own as ``package.module:name``."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from typing import Any

import torch
from torch import nn


def load_model(name: str, *, weights: str | None = None, seed: int = 0) -> tuple[nn.Module, Any]:
    """Make a model.

    Parameters
    ----------
    name : str
        A torchvision model, or ``package.module:name`` of an nn.Module or of a function that returns
        one; modules in the current folder are found too.
    weights : str, optional
        Weights of a torchvision model, such as ``"DEFAULT"``; random if not given.
    seed : int
        Torch's global random state is set to it, which makes random weights reproducible.

    Returns
    -------
    model : torch.nn.Module
    weights : torchvision.models.WeightsEnum or None
        Their ``transforms()`` prepare images for the model.

    Raises
    ------
    ValueError
        If there is no such model or no such weights, or the user's code raises or returns anything else.
    OSError
        If weights cannot be downloaded.

    Examples
    --------
    >>> model, weights = load_model("resnet18")
    >>> type(model).__name__, weights
    ('ResNet', None)
    """
    torch.manual_seed(seed)
    if ":" not in name:
        return _from_torchvision(name, weights)
    if weights is not None:
        raise ValueError(f"weights {weights}: only for torchvision models; {name} has to load its own")
    return _made_by_user(name, seed), None


def _made_by_user(spec: str, seed: int) -> nn.Module:
    module_name, _, name = spec.rpartition(":")
    if module_name.endswith(".py"):
        as_module = module_name.removesuffix(".py").replace("/", ".").replace("\\", ".").strip(".")
        raise ValueError(f"model {spec}: {module_name} is a file: give its module, {as_module}:{name}")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        made: Any = importlib.import_module(module_name)
        for part in name.split("."):
            made = getattr(made, part)
        if not isinstance(made, nn.Module):
            torch.manual_seed(seed)  # the module may have drawn numbers when it was imported
            made = made()
    except Exception as error:  # whatever users' code raises
        raise ValueError(f"model {spec}: {type(error).__name__}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ValueError(f"model {spec} gives a {type(made).__name__}, not a torch.nn.Module")
    return made


def _from_torchvision(name: str, weights_name: str | None) -> tuple[nn.Module, Any]:
    from torchvision import models

    if name not in models.list_models():
        close = ", ".join(difflib.get_close_matches(name, models.list_models()))
        offer = f"did you mean {close}?" if close else "it has resnet18, for example"
        raise ValueError(
            f"model {name}: torchvision has no such model ({offer}); give your own as package.module:name"
        )
    if weights_name is None:
        return models.get_model(name, weights=None), None
    offered = models.get_model_weights(name)
    try:
        weights = offered[weights_name.split(".")[-1]]
    except KeyError:
        names = ", ".join(w.name for w in offered)
        raise ValueError(f"weights {weights_name}: {name} has DEFAULT, {names}") from None
    try:
        return models.get_model(name, weights=weights), weights
    except OSError as error:
        raise OSError(f"the weights of {name} cannot be loaded from {weights.url}: {error}") from error

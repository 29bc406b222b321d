"""A folder with models and stimuli, in which commands run."""

import sys
from pathlib import Path

import numpy as np
import pytest

from helpers.command_line import MODELS, record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty current folder with a module of models, importable from there only."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "my_models", raising=False)
    Path("my_models.py").write_text(MODELS)
    yield tmp_path
    sys.modules.pop("my_models", None)


@pytest.fixture
def stimuli(folder):
    """60 stimuli of 3 numbers with labels, stored in x.npz; what a ReLU makes spikes of is known."""
    x = np.random.default_rng(0).normal(size=(60, 3))
    np.savez("x.npz", x=x, y=np.arange(60) % 4)
    return x


@pytest.fixture
def recorded(stimuli):
    return record("--trials 3 --bin-size 0.3 --seed 1")

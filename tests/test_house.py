"""The wings import downward only, no name hides a room, and importing stays cheap."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import ann2neo

ROOT = Path(ann2neo.__file__).parents[1]
MODULES = [found.name for found in pkgutil.walk_packages(ann2neo.__path__, "ann2neo.")]
WINGS = ["recording", "interop", "files", "summary", "analysis", "model", "plot", "study", "cli"]
HEAVY = ["neo", "elephant", "quantities", "pandas", "matplotlib", "scipy", "torchvision", "pynwb", "sklearn"]


def lint(folder):
    """Run import-linter with this project's contracts on the package in a folder."""
    command = [
        Path(sys.executable).parent / "lint-imports",
        "--no-cache",
        "--config",
        ROOT / "pyproject.toml",
    ]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env={"PYTHONPATH": str(folder)}
    )


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose imports a test may spoil; it is read, never run."""
    for path in (ROOT / "ann2neo").rglob("*.py"):
        place = tmp_path / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path.read_text())
    return tmp_path


def test_imports_lead_downward(copy):
    found = lint(copy)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("recording/raster.py", "from ..cli import main"),
        ("recording/raster.py", "def lazy():\n    from ..interop.neo_block import to_neo"),
        (
            "files/seal.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..summary import Summary",
        ),
        ("summary/statistics.py", "from ..files.tables import save_table"),
        ("analysis/likelihood.py", "from ..model.probe import Probe"),
        ("recording/time.py", "from .raster import SpikeRaster"),
        ("summary/kernels/state.py", "from . import choose"),
        ("study/new_room.py", "from ..cli import main"),
    ],
)
def test_that_the_contracts_can_fail(copy, room, line):
    with (copy / "ann2neo" / room).open("a") as file:
        file.write(f"\n{line}\n")
    found = lint(copy)
    assert found.returncode == 1
    assert "BROKEN" in found.stdout


@pytest.mark.parametrize("name", MODULES)
def test_no_name_hides_a_room(name):
    if name.endswith("__main__"):
        return
    room = importlib.import_module(name)
    parent, _, own = name.rpartition(".")
    assert getattr(sys.modules[parent], own) is room


@pytest.mark.parametrize("name", ["ann2neo", *(f"ann2neo.{wing}" for wing in WINGS)])
def test_importing_is_cheap(name):
    code = f"import sys, {name}; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"

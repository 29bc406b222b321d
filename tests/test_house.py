"""The wings import downward only, no name hides a room, and importing stays cheap."""

import ast
import importlib
import os
import pkgutil
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import ann2neo

grimp = pytest.importorskip("grimp", reason="import-linter and its graph need Python 3.11")

ROOT = Path(ann2neo.__file__).parents[1]
WINGS = ("recording", "interop", "files", "summary", "analysis", "model", "plot", "study", "cli")
HEAVY = ("neo", "elephant", "quantities", "pandas", "matplotlib", "scipy", "torchvision", "pynwb", "sklearn")

SPOILERS = {
    "recording/raster.py": "from ..cli import main",
    "recording/stimuli.py": "def lazy():\n    from ..interop.neo_block import to_neo",
    "interop/atomic.py": "if TYPE_CHECKING:\n    from ..summary import Summary",
    "summary/statistics.py": "from ..files.tables import save_table",
    "analysis/likelihood.py": "from ..model.probe import Probe",
    "model/batches.py": "from ..plot import overview",
}
"""Imports that lead upward or aside: by room, a line that spoils it."""


def lint(folder):
    """Run import-linter with this project's contracts on the package in a folder."""
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", ROOT / "pyproject.toml"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "300"}
    found = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    return found.returncode, found.stdout + found.stderr


@pytest.fixture
def copy(tmp_path):
    """A copy of the package whose imports a test may spoil; it is read, never run."""
    for path in (ROOT / "ann2neo").rglob("*.py"):
        place = tmp_path / path.relative_to(ROOT)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path.read_text())
    return tmp_path


def spoil(copy, room, line):
    with (copy / "ann2neo" / room).open("a") as file:
        file.write(f"\n{line}\n")


def test_imports_lead_downward(copy):
    status, said = lint(copy)
    assert status == 0, said


def test_that_an_import_upward_is_found(copy):
    for room, line in SPOILERS.items():
        spoil(copy, room, line)
    status, said = lint(copy)
    assert status == 1
    for room in SPOILERS:
        assert f"ann2neo.{room[:-3].replace('/', '.')} ->" in said, room


def test_that_a_circle_within_a_wing_is_found(copy):
    spoil(copy, "recording/time.py", "from .raster import SpikeRaster")
    status, said = lint(copy)
    assert status == 1
    assert "No circle anywhere BROKEN" in said


def leads_out(room, other):
    """Whether a room imports the package that it is in: import-linter takes this for no circle."""
    return room.startswith(f"{other}.")


def test_no_room_imports_the_package_it_is_in():
    graph = grimp.build_graph("ann2neo", cache_dir=None)
    imports = [
        (room, other) for room in graph.modules for other in graph.find_modules_directly_imported_by(room)
    ]
    assert len(imports) > 100
    assert [each for each in imports if leads_out(*each)] == []
    assert leads_out("ann2neo.summary.kernels.state", "ann2neo.summary.kernels")


def test_no_name_hides_a_room():
    for found in pkgutil.walk_packages(ann2neo.__path__, "ann2neo."):
        if found.name == "ann2neo.__main__":
            continue
        room = importlib.import_module(found.name)
        parent, _, own = found.name.rpartition(".")
        assert getattr(sys.modules[parent], own) is room, found.name


def test_importing_is_cheap():
    names = ", ".join(["ann2neo", *(f"ann2neo.{wing}" for wing in WINGS)])
    code = f"import sys, {names}; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_the_package_itself_imports_nothing():
    code = "import sys, ann2neo; print('torch' in sys.modules, 'numpy' in sys.modules, dir(ann2neo))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("False False")
    assert "'record'" in said
    assert "'plot'" in said
    assert "'model'" not in said


def test_names_are_where_type_checkers_look_for_them():
    block = next(
        node for node in ast.parse(Path(ann2neo.__file__).read_text()).body if isinstance(node, ast.If)
    )
    seen = {name.asname: node.module for node in block.body for name in node.names}
    assert seen == ann2neo._HOMES
    for name in ann2neo.__all__:
        assert getattr(ann2neo, name).__module__ == f"ann2neo.{seen[name]}"


def test_help_is_a_contents_page():
    page = pydoc.render_doc(ann2neo, renderer=pydoc.plaintext)
    assert "Record: ``record``" in page
    assert "class Recording" in page
    with pytest.raises(AttributeError, match="has no attribute 'recrod'"):
        ann2neo.recrod  # noqa: B018

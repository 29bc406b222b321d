"""A room imports only from rooms on lower floors, and `import ann2neo` stays cheap."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ann2neo

FLOORS = [
    {"raster", "kernels", "functions", "steps", "bits", "hdf5", "matlab"},
    {
        "recording",
        "threshold",
        "statistics",
        "likelihood",
        "selection",
        "models",
        "layout",
        "batches",
        "spill",
    },
    {"nulls", "networks", "training", "regimes"},
    {"lazy", "hooks", "seam", "description", "fingerprint"},
    {"probe", "elephant_engine", "accumulator"},
    {"spiketrains", "inventory"},
    {"summary", "nwb", "exchange", "foreign", "surrogates"},
    {"goodness_of_fit", "io", "parts", "distributed"},
    {"poisson", "modulation", "data", "streaming", "compare"},
    {"indicators", "pruning"},
    {"plot", "report", "tables", "arguments", "monitor", "memorization"},
    {"demo", "lightning", "study_report"},
    {"cli"},
    {"__main__"},
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
ROOMS = Path(ann2neo.__file__).parent


def hands_over(function: ast.FunctionDef) -> bool:
    """A docstring, one import and one return: a method that only leads to the room that does the work."""
    kinds = [type(statement) for statement in function.body]
    return kinds == [ast.Expr, ast.ImportFrom, ast.Return]


def upward_imports(room: str, source: str) -> list[str]:
    tree = ast.parse(source)
    exempt = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and hands_over(function)
        for node in function.body
    }
    type_checking = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in block.body
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level and id(node) not in exempt | type_checking:
            rooms = [node.module] if node.module else [alias.name for alias in node.names]
            found += [r for r in rooms if r in FLOOR_OF and FLOOR_OF[r] >= FLOOR_OF[room]]
    return found


@pytest.mark.parametrize("path", sorted(ROOMS.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_rooms_import_downward(path):
    assert path.stem in FLOOR_OF, f"give {path.stem} a floor"
    assert upward_imports(path.stem, path.read_text()) == []


def test_that_the_first_test_can_fail():
    assert upward_imports("raster", "from .summary import Summary") == ["summary"]
    assert upward_imports("threshold", "def f():\n    from . import cli") == ["cli"]
    assert upward_imports("raster", "def f():\n    'Doc.'\n    from .io import save\n    return save()") == []


def test_importing_is_cheap():
    heavy = [
        "neo",
        "elephant",
        "quantities",
        "pandas",
        "matplotlib",
        "scipy",
        "torchvision",
        "pynwb",
        "sklearn",
    ]
    code = f"import sys, ann2neo; print([name for name in {heavy} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"

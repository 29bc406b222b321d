"""Every tutorial runs as a script, warns of nothing of ours and prints what its prose says."""

import os
import subprocess
import sys
from pathlib import Path
from time import perf_counter

import pytest

pytestmark = pytest.mark.slow

TUTORIALS = Path(__file__).parents[1] / "tutorials"
PRINTS = {
    "01_first_recording": ["10 trials; 64 spike trains", "the very same recording"],
    "02_surrogates": ["of 150 units", "(10 surrogates)", "dither_spikes by 5.0 ms"],
}


def script(path, tmp_path):
    environment = os.environ | {"MPLBACKEND": "Agg", "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"}
    # a warning about how the tutorial or ann2neo uses a library is attributed to one of these modules
    options = ["-W", "error:::__main__", "-W", "error:::ann2neo"]
    started = perf_counter()
    done = subprocess.run(
        [sys.executable, *options, str(path)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
        env=environment,
        cwd=tmp_path,
    )
    print(f"\n{path.stem}: {perf_counter() - started:.0f} s")
    return done


@pytest.mark.parametrize("path", sorted(TUTORIALS.glob("*.py")), ids=lambda path: path.stem)
def test_a_tutorial_runs(path, tmp_path):
    done = script(path, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    for text in PRINTS[path.stem]:
        assert text in done.stdout


def test_that_the_test_of_tutorials_can_fail(tmp_path):
    for name, source in {
        "wrong": "assert 1 + 1 == 3",
        "warns": "import warnings; warnings.warn('x')",
    }.items():
        (tmp_path / f"{name}.py").write_text(source)
        assert script(tmp_path / f"{name}.py", tmp_path).returncode == 1


def test_there_are_tutorials():
    assert {path.stem for path in TUTORIALS.glob("*.py")} == set(PRINTS)

"""Output in encodings that lack some of our characters, as where Windows redirects it to a file."""

import io
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

from ann2neo import Recording, SpikeRaster, save
from ann2neo.cli import main
from ann2neo.cli.commands import COMMANDS

ENCODINGS = ["cp1252", "latin-1", "ascii", "utf-8"]


def printed(monkeypatch, encoding, command):
    """Run a command; return its status, and what a file in this encoding then holds."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    try:
        status = main(shlex.split(command))
    except SystemExit as left:
        status = left.code
    for stream in (out, err):
        stream.flush()
    return status, out.buffer.getvalue().decode(encoding), err.buffer.getvalue().decode(encoding)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Two recordings whose layers and annotations no such encoding can hold."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        rasters = {layer: SpikeRaster.from_dense(rng.random((9, 400)) < 0.4) for layer in ("слой", "größe ≠")}
        save(Recording(rasters, annotations={"model": "√2 – µ"}), f"{name}.nwb")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_command_prints_in_any_encoding(files, monkeypatch, encoding):
    for command, in_words in {
        "info one.nwb": "annotations",
        "summarize one.nwb --units-table u.csv --window 100": "NOTE: a Fano factor of 4 windows",
        "compare one.nwb two.nwb -o both.png --table both.csv": "means over units",
        "plot one.nwb": "one.png",
        "convert one.nwb three.mat": "three.mat",
    }.items():
        status, out, err = printed(monkeypatch, encoding, command)
        assert (status, err) == (0, ""), command
        assert in_words in out
    assert "sqrt2" in printed(monkeypatch, "ascii", "info one.nwb")[1]
    assert "√2" in printed(monkeypatch, "utf-8", "info one.nwb")[1]
    assert all(Path(name).exists() for name in ("u.csv", "both.png", "both.csv", "one.png", "three.mat"))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_help_and_errors_are_printed_in_any_encoding(files, monkeypatch, encoding):
    for name in ["", *(command.name for command in COMMANDS)]:
        status, out, _ = printed(monkeypatch, encoding, f"{name} --help")
        assert status == 0
        assert "usage" in out
    status, _, err = printed(monkeypatch, encoding, "info größe–√.nwb")
    assert status == 2
    assert err.startswith("ann2neo: error: gr")


def test_results_are_saved_before_they_are_printed(files, monkeypatch):
    class Full(io.StringIO):
        def write(self, text):
            raise OSError("no space left")

    for command in (
        "summarize one.nwb --units-table u.csv --layers-table l.csv",
        "compare one.nwb two.nwb -o both.png --table both.csv",
        "plot one.nwb",
        "convert one.nwb three.mat",
    ):
        monkeypatch.setattr(sys, "stdout", Full())
        assert main(shlex.split(command)) == 2
    for name in ("u.csv", "l.csv", "both.png", "both.csv", "one.png", "three.mat"):
        assert Path(name).stat().st_size > 100

"""``ann2neo convert, info, plot, demo``."""

import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

import ann2neo
from ann2neo.files.save_load import SUFFIXES, load
from helpers.command_line import EXISTS, error_of, run


@pytest.mark.slow
def test_every_conversion_keeps_everything(recorded, capsys):
    for suffix in SUFFIXES[1:]:
        run(f"convert r.nwb r{suffix}")
    for one, other in permutations(SUFFIXES, 2):
        run(f"convert r{one} {one[1:]}-to{other} --trust")
        assert load(f"{one[1:]}-to{other}", trust=True) == recorded
    capsys.readouterr()
    assert "give --trust" in error_of(capsys, "convert r.pkl new.nwb")
    assert f"r.mat {EXISTS}" in error_of(capsys, "convert r.nwb r.mat")
    run("convert r.nwb r.mat --overwrite")


def test_info(recorded, capsys):
    capsys.readouterr()
    run("info r.nwb")
    out = capsys.readouterr().out
    assert "3 units, 60 bins of 0.3 ms in 3 trials" in out
    assert "trials of 20 bins; 60 stimuli with 4 labels: 0, 1, 2, 3\n" in out
    assert re.search(rf"^1 +3 +3 +{recorded.n_spikes} +0$", out, re.MULTILINE)
    assert "  model: my_models:relu\n" in out


def test_info_of_what_is_no_network(folder, capsys):
    raster = ann2neo.SpikeRaster.from_dense(np.eye(3))
    ann2neo.files.save_load.save(ann2neo.Recording({"neurons": raster}), "r.mat")
    run("info r.mat")
    out = capsys.readouterr().out
    assert "no stimuli" in out
    assert re.search(r"neurons +3 +3 +3 +unknown", out)


def test_plot(recorded, capsys):
    run("convert r.nwb again.mat")
    run("plot r.nwb")
    run("plot r.nwb again.mat --output both.pdf --window 10")
    assert Path("r.png").read_bytes().startswith(b"\x89PNG")
    assert Path("both.pdf").read_bytes().startswith(b"%PDF")
    assert f"r.png {EXISTS}" in (capsys.readouterr(), error_of(capsys, "plot r.nwb"))[1]


def test_demo_gets_its_arguments(folder, monkeypatch):
    import ann2neo.study.demo

    given = []
    monkeypatch.setattr(ann2neo.study.demo, "run", lambda *args, **kwargs: given.append((args, kwargs)))
    run("demo --output there --seed 3")
    assert given == [(("there",), {"seed": 3, "progress": False})]

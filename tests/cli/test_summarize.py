"""``ann2neo summarize``: of recordings and summaries in files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import ann2neo
from helpers.command_line import EXISTS, STREAM, error_of, run


def test_summary_of_planted_rates(folder, capsys):
    """Three units: one always on, one dead, one that spikes in every fourth bin."""
    x = np.stack([np.ones(400), -np.ones(400), np.where(np.arange(400) % 4, -1, 1)], axis=1)
    np.save("x.npy", x)
    run("record --model my_models:relu --data x.npy --output r.nwb --no-shuffle --bin-size 2")
    capsys.readouterr()
    run("summarize r.nwb --window 40 --units-table u.csv --layers-table l.csv")
    out, err = capsys.readouterr()
    assert err == ""
    assert max(map(len, out.splitlines())) <= 100
    assert "Stimuli were NOT shuffled. Shuffled stimuli make a unit's train exchangeable" in out
    rows = [line.split() for line in out.splitlines() if line.startswith("network")]
    assert rows.pop(1)[:5] == ["network", "3", "1.250", "0.188", "0.875"]  # active together: 1 or 2 of 3
    # rates 500, 0 and 125 Hz; Fano factors 0, undefined and 0; intervals of one length only
    rates = [500, 0, 125]
    assert rows[0][:4] == ["network", "3", f"{np.mean(rates):.1f}", f"{np.var(rates):.0f}"]
    assert rows[0][4:] == ["0.000"] * 6
    # 100 intervals of 4 bins are neither exponential nor geometric, counts too even for Poisson
    assert rows[1][:4] == ["network", "3", "33.3", "33.3"]
    assert rows[1][5] == rows[1][7] == "100.0" or rows[1][4:] == ["100.0"] * 4
    assert pd.read_csv("u.csv")["n_spikes"].tolist() == [400, 0, 100]
    assert {"fano_factor", "binomial_dispersion_qvalue", "rate"} <= set(pd.read_csv("u.csv").columns)
    assert pd.read_csv("l.csv")["layer"].tolist() == ["1", "network"]
    assert "mean_firing_rate_var" in pd.read_csv("l.csv").columns
    assert "geometric_isi_rejected" in pd.read_csv("l.csv").columns


def test_summary_by_elephant_is_the_same(recorded, capsys):
    capsys.readouterr()
    tables = []
    for engine in ("raster", "elephant"):
        run(f"summarize r.nwb --engine {engine} --units-table u.csv --overwrite")
        tables.append(capsys.readouterr().out.replace(engine, ""))
        assert "Stimuli were shuffled." in tables[-1]
    assert tables[0] == tables[1]


def test_layer_names_are_cut_to_fit(folder, capsys):
    raster = ann2neo.SpikeRaster.from_dense(np.random.default_rng(0).random((4, 300)) < 0.3)
    name = "encoder.layers.encoder_layer_0.mlp.1.activation"
    ann2neo.files.save_load.save(ann2neo.Recording({name: raster}), "r.mat")
    run("summarize r.mat")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 100
    assert f"\n…{name[-25:]} " in out
    assert "\nShuffled stimuli make" in out  # nothing is known of their order


def test_tables_are_not_overwritten(recorded, capsys):
    Path("u.csv").write_text("precious")
    capsys.readouterr()
    assert f"u.csv {EXISTS}" in error_of(capsys, "summarize r.nwb --units-table u.csv")
    assert "--window 61" in error_of(capsys, "summarize r.nwb --window 61")
    assert Path("u.csv").read_text() == "precious"


def test_a_saved_summary_is_printed_again(stimuli, capsys):
    run(f"{STREAM} --window 6 -o s.npz")
    first = capsys.readouterr().out.split("\n\n", 1)[1]
    run("summarize s.npz --units-table u.csv")
    out = capsys.readouterr().out
    assert out.startswith("s.npz: Summary(40 units, 60 bins of 1 ms, windows of 6 bins")
    assert out.split("\n\n", 1)[1] == first
    assert len(pd.read_csv("u.csv")) == 40
    run("record --model my_models:random --data x.npz -o r.nwb")
    capsys.readouterr()
    run("summarize r.nwb s.npz --window 20", 2)
    assert "--window is for recordings, but s.npz is a summary" in capsys.readouterr().err
    run("summarize r.nwb s.npz")
    out = capsys.readouterr().out
    assert re.findall("^.*npz: |^.*nwb: ", out, re.MULTILINE) == ["r.nwb: ", "s.npz: "]


@pytest.mark.slow
def test_a_reader_who_has_had_enough(stimuli):
    run(f"{STREAM} -o s.npz")
    code = "import sys; from ann2neo.cli import main; sys.exit(main(['summarize', 's.npz']))"
    reader, writer = os.pipe()
    os.close(reader)
    told = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (told.returncode, told.stderr) == (1, "")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "summarize s.npz --window 6",
            "--window is for recordings, but s.npz is a summary, .*leave",
        ),
        ("summarize s.npz --engine elephant", "--engine is for recordings, but s.npz is a summary"),
        ("summarize s.npz --bin-size 2", "--bin-size is for recordings, but s.npz is a summary"),
        ("summarize s.npz --block 0", "--block is for recordings, but s.npz is a summary"),
        ("summarize s.npz --trust", "--trust is for recordings, but s.npz is a summary"),
        ("summarize a.nwb s.NPZ --trust", "--trust is for recordings, but s.NPZ is a summary"),
        (
            "summarize a.nwb b.nwb --units-table u.csv",
            "--units-table u.csv holds one file, but you named 2: name one",
        ),
        ("summarize a.nwb b.nwb --layers-table l.csv", "--layers-table l.csv holds one file"),
        ("summarize x.npz", "x.npz is damaged, incomplete, or not a summary of ann2neo"),
    ],
)
def test_what_cannot_be_summarized(stimuli, capsys, command, message):
    assert re.search(message, error_of(capsys, command))


@pytest.mark.parametrize(
    "command",
    [
        "summarize --model my_models:relu --data x.npz --units 5 --layers 1",
        "summarize --data x.npz --window 10 -o s.npz --model=my_models:relu",
        "summarize r.nwb --model my_models:relu",
        "summarize --model",
    ],
)
def test_a_network_is_sent_to_its_own_command(stimuli, capsys, command):
    with pytest.raises(SystemExit) as exit_:
        run(command)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("ann2neo: error: summarize reads files and has no --model")
    assert "for a network give the same options to ann2neo stream" in err
    assert not Path("built").exists()


@pytest.mark.parametrize(
    "options", ["--data x.npz", "--trials 1", "--seed 0", "--amp", "--part 1/2", "-o s.npz", "--units 5"]
)
def test_options_of_a_network_are_not_for_files(recorded, capsys, options):
    with pytest.raises(SystemExit) as exit_:
        run(f"summarize r.nwb {options}")
    assert exit_.value.code == 2
    assert f"unrecognized arguments: {options}" in capsys.readouterr().err

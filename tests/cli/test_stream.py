"""``ann2neo stream``, and ``ann2neo merge`` of its parts."""

import re
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import ann2neo
import ann2neo.cli.models
import ann2neo.study.data
from ann2neo import Summary
from ann2neo.cli.text import report
from ann2neo.summary.processes import Process
from helpers.command_line import EXISTS, STREAM, error_of, run
from helpers.sums import assert_same_sums


def in_library(**arguments):
    """What the library says of the stimuli and the model that ``STREAM`` names."""
    model, _ = ann2neo.cli.models.load_model("my_models:random")
    return ann2neo.summarize(model, ann2neo.study.data.load_data("x.npz"), **{"n_stimuli": 60, **arguments})


def test_a_network_is_summarized_as_by_the_library(stimuli, capsys):
    run(
        f"{STREAM} --layers * --units 7 --threshold 0.1 --window 6 --trials 4 --bin-size 2 --batch-size 16 "
        "--seed 3 --isi-histogram --backend portable -o s.npz --units-table u.parquet --layers-table l.csv"
    )
    model, _ = ann2neo.cli.models.load_model("my_models:random", seed=3)
    wanted = ann2neo.summarize(
        *(model, ann2neo.study.data.load_data("x.npz", seed=3), "*"),
        **{"units": 7, "threshold": 0.1, "window": 6, "n_trials": 4, "bin_size": 2, "batch_size": 16},
        **{"seed": 3, "isi_histogram": True},
    )
    saved = Summary.load("s.npz")
    assert_same_sums(saved, wanted)
    assert saved.backend == "portable"
    told = {"model": "my_models:random", "dataset": "x.npz", "shuffled": True, "threshold": 0.1}
    assert told.items() <= saved.annotations.items()
    fit = wanted.fit_poisson()
    table = pd.read_parquet("u.parquet")
    assert table[wanted.units.columns].equals(wanted.units)
    assert table[fit.units.columns].equals(fit.units)
    pd.testing.assert_frame_equal(pd.read_csv("l.csv")[wanted.layers.columns], wanted.layers, rtol=1e-12)
    out, err = capsys.readouterr()
    assert err == ""
    head = f"my_models:random: {saved!r}\nsaved as s.npz, u.parquet, l.csv\n"
    assert out == f"{head}\n{report(wanted, fit, shuffled=True)}\n"


def test_what_has_no_windows_and_no_intervals_is_said_to_be_so(stimuli, capsys):
    run(f"{STREAM} --window 60")
    out = capsys.readouterr().out
    assert "\nNOTE: one window (of 60 bins) gives no Fano factor: take shorter windows, --window 2 for" in out
    row = [line.split() for line in out.splitlines() if line.startswith("network")][2]
    assert (row[5], row[7]) == ("n/a", "n/a")
    assert "\nn/a: tests of intervals need their histogram: ann2neo stream --isi-histogram" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "nan" not in out
    run(f"{STREAM} --part 1/20 --batch-size 1 --window 50")
    assert "NOTE: no complete window (of 50 bins) gives no Fano factor" in capsys.readouterr().out
    run(f"{STREAM} --isi-histogram --window 6")
    out = capsys.readouterr().out
    assert "n/a" not in out
    assert "Fano factors: 10 windows of 6 bins; relative: over the (n−1)/n·(1−p) of independent bins" in out
    assert "NOTE: a Fano factor of 10 windows (of 6 bins) is mostly noise" in out
    run(STREAM)  # of 60 stimuli, known beforehand
    out = capsys.readouterr().out
    assert "Fano factors: 30 windows of 2 bins;" in out
    assert "NOTE" not in out


@pytest.mark.parametrize(("threshold", "said"), [(99, "no unit ever spikes"), (-0.5, "every unit spikes in")])
def test_no_spike_and_nothing_but_spikes_are_said_plainly(stimuli, capsys, threshold, said):
    data = "--data x.npz --model my_models:relu"
    run(f"record {data} --threshold {threshold} -o r.nwb")
    assert f"NOTE: 1: {said}" in capsys.readouterr().out
    for command in (
        "info r.nwb",
        "summarize r.nwb",
        f"stream {data} --threshold {threshold}",
        "compare r.nwb",
    ):
        run(command)
        out, err = capsys.readouterr()
        assert f"1: {said}" in out
        assert err == ""
    with pytest.warns(UserWarning, match=f"^all layers: {said}"):
        ann2neo.load("r.nwb").summarize().layers  # noqa: B018


def test_info_and_compare_take_summaries(stimuli, capsys):
    run(f"{STREAM} -o s.npz")
    capsys.readouterr()
    run("info s.npz")
    out = capsys.readouterr().out
    assert re.search(r"s.npz \(0.\d+ MB\): Summary\(40 units, 60 bins of 1 ms, windows of 2 bins", out)
    assert re.search(r"^1 +40  40 +\d+$", out, re.MULTILINE)
    assert "annotations\n" in out
    run("compare s.npz --table t.csv -o f.png")
    assert "windows of counts: s 30 of 2 bins" in capsys.readouterr().out
    assert Path("t.csv").exists()
    assert Path("f.png").exists()


def test_mixed_precision_and_memory_format(folder, capsys):
    images = np.random.default_rng(0).normal(size=(50, 2, 6, 6)).astype(np.float32)
    np.save("x.npy", images)
    options = "stream --model my_models:conv --data x.npy --no-shuffle --window 10"
    run(f"{options} --channels-last --amp -o s.npz")
    model, _ = ann2neo.cli.models.load_model("my_models:conv")
    model.to(memory_format=torch.channels_last)
    exact = ann2neo.summarize(model, images, window=10, n_stimuli=50)
    with torch.autocast("cpu", torch.bfloat16):
        wanted = ann2neo.summarize(model, images, window=10, n_stimuli=50)
    saved = Summary.load("s.npz")
    assert_same_sums(saved, wanted)
    assert not saved.units.equals(exact.units)
    assert (saved.annotations["autocast"], saved.annotations["memory_format"]) == (
        "bfloat16",
        "channels_last",
    )
    capsys.readouterr()
    with pytest.raises(AssertionError):  # in forward
        run(f"{options} --traceback")
    np.savez("x.npz", x=images[:, 0, 0, :3])
    assert "my_models:random has no two-dimensional conv" in error_of(capsys, f"{STREAM} --channels-last")


def test_parts_are_merged_in_any_order(stimuli, capsys):
    options = f"{STREAM} --window 7 --trials 2 --batch-size 8 --isi-histogram"
    for i in (1, 2, 3):
        run(f"{options} --part {i}/3 -o part-{i}.npz")
    assert "\nbins 24 to 47 of 60\n" in capsys.readouterr().out
    run("merge part-3.npz part-1.npz part-2.npz -o whole.npz --layers-table l.csv")
    merged = capsys.readouterr()
    assert merged.err == ""
    whole = Summary.load("whole.npz")
    assert_same_sums(whole, in_library(window=7, n_trials=2, batch_size=8, isi_histogram=True))
    assert pd.read_csv("l.csv")["layer"].tolist() == ["1", "network"]
    run(options)
    tables = [out.split("\n\n", 1)[1] for out in (merged.out, capsys.readouterr().out)]
    assert tables[0] == tables[1]


@pytest.mark.filterwarnings("always:.* differ in")
def test_parts_that_do_not_fit_are_named(stimuli, capsys):
    for i in (1, 2, 3):
        run(f"{STREAM} --window 7 --batch-size 8 --part {i}/3 -o part-{i}.npz")
    run(f"{STREAM} --window 9 --batch-size 8 --part 2/3 -o other.npz")
    run(f"{STREAM} --window 7 --batch-size 8 --seed 1 --part 2/3 -o reseeded.npz")
    run(f"{STREAM} --window 7 --batch-size 8 --units 5 --part 2/3 -o fewer.npz")
    np.savez("y.npz", x=stimuli)
    for changed, by, output in (("random", "unseeded", "weights"), ("x.npz", "y.npz", "data")):
        run(f"{STREAM.replace(changed, by)} --window 7 --batch-size 8 --part 2/3 -o {output}.npz")
    capsys.readouterr()
    for files, message in [
        ("part-1 part-3", "part-1.npz and part-3.npz: cannot merge: one summary has the bins 0 to 23, .* 48"),
        ("part-1 part-2 part-2", "part-2.npz and part-2.npz: .* each once"),
        (
            "part-1 other",
            "part-1.npz and other.npz: .* window=7, the other 9: give the same window= to all parts",
        ),
        ("part-1 reseeded", "part-1.npz and reseeded.npz: .* seed=0, the other 1"),
        ("part-1 fewer", "part-1.npz and fewer.npz: layer '1' has 5 units"),
        ("part-1 weights", "part-1.npz and weights.npz: .* had other parameters .* give all runs the same"),
        ("part-1 lost", "lost.npz: No such file"),
    ]:
        names = " ".join(f"{name}.npz" for name in files.split())
        assert re.search(message, error_of(capsys, f"merge {names} -o whole.npz"))
    assert not Path("whole.npz").exists()
    run("merge part-1.npz part-2.npz")
    out, err = capsys.readouterr()
    assert err == "ann2neo: warning: parts are missing: the files cover bins 0 to 47 of 60\n"
    assert "\nbins 0 to 47 of 60\n" in out
    run("merge part-1.npz data.npz part-3.npz")
    told = "ann2neo: warning: part-1.npz and data.npz differ in dataset: x.npz and y.npz\n"
    assert capsys.readouterr().err == told


def test_a_part_without_stimuli(stimuli, capsys):
    run(f"{STREAM} --batch-size 32 --part 3/3 -o part-3.npz")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ann2neo: no batch of 32 stimuli is left for part 3 of 3\n")
    assert not Path("part-3.npz").exists()


def test_a_checkpoint_is_continued_by_the_same_command_only(stimuli, capsys):
    command = f"{STREAM} --window 6 --batch-size 16 --checkpoint run.npz"
    run(command)
    out = capsys.readouterr().out
    run(command)
    assert capsys.readouterr().out == out
    np.savez("y.npz", x=stimuli)
    assert "run.npz cannot be continued: dataset was x.npz, now it is y.npz" in error_of(
        capsys, command.replace("x.npz", "y.npz")
    )
    assert "autocast was None, now it is bfloat16" in error_of(capsys, f"{command} --amp")
    assert "trial_bins was (60,), now it is (50,)" in error_of(capsys, f"{command} --stimuli 50")


@pytest.mark.filterwarnings("always:interrupted")
@pytest.mark.parametrize("options", ["", "-o s.npz"])
def test_summaries_that_stop_are_shown_and_saved(stimuli, capsys, options):
    stimuli[30:] = 1000
    np.savez("x.npz", x=stimuli)
    command = "stream --data x.npz --no-shuffle --batch-size 10 --window 5 --overwrite"
    for model, status, message in [
        ("broken", 1, "error: a shape that does not fit"),
        ("interrupted", 130, "warning: interrupted: returning the 30 bins added up so far"),
    ]:
        run(f"{command} --model my_models:{model} {options}", status)
        out, err = capsys.readouterr()
        assert err.splitlines() == [
            f"ann2neo: {message}",
            "ann2neo: the statistics cover the 30 bins added up before that",
        ]
        assert out.startswith(f"my_models:{model}: Summary(3 units, 30 bins")
        assert "\nbins 0 to 29 of 60\n" in out
        if options:
            assert Summary.load("s.npz").n_bins == 30
            Path("s.npz").unlink()
    stimuli[0] = 1000
    np.savez("x.npz", x=stimuli)
    assert error_of(capsys, f"{command} --model my_models:broken") == (
        "ann2neo: error: a shape that does not fit\n"
    )


def test_progress_tells_stimuli_per_second(stimuli, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(STREAM)
    assert re.search(r"summarizing: 100%.* 60/60 .* stimuli/s\]", capsys.readouterr().err)


def test_outputs_of_a_summary_are_checked_before_the_work_is_done(stimuli, capsys, monkeypatch):
    Path("taken.npz").write_text("precious")
    Path("taken.csv").write_text("precious")
    command = "stream --model my_models:relu --data x.npz"
    for options, message in [
        ("-o taken.npz", f"taken.npz {EXISTS}"),
        ("-o s.nwb", "s.nwb: a summary is kept in a .npz file"),
        ("-o nowhere/s.npz", "there is no folder nowhere"),
        ("--checkpoint s.nwb", "s.nwb: a summary is kept in a .npz file"),
        ("--checkpoint nowhere/s.npz", "there is no folder nowhere"),
        (
            "--units-table taken.csv",
            f"taken.csv {EXISTS}",
        ),
        (
            "--layers-table l.xlsx",
            "l.xlsx: a table cannot have the suffix '.xlsx': give one of .csv, .parquet",
        ),
    ]:
        assert message in error_of(capsys, f"{command} {options}")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "pip install 'ann2neo[parquet]'" in error_of(capsys, f"{command} --units-table u.parquet")
    assert Path("taken.npz").read_text() == Path("taken.csv").read_text() == "precious"
    run(f"{command} -o taken.npz --overwrite --units-table taken.csv")
    assert Summary.load("taken.npz").n_bins == 60


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{STREAM} --part 0/2", "--part 0/2: give I/N for the Ith of N parts, from 1/N to N/N"),
        (f"{STREAM} --part 3/2", "--part 3/2: give I/N"),
        (f"{STREAM} --part 2", "--part 2: give I/N"),
        (f"{STREAM} --trials 61", "--trials 61, but only 60 stimuli are shown: give at most 60"),
        (f"{STREAM} --batch-size 0", "--batch-size 0: give at least one"),
        (f"{STREAM} --window 0", "--window 0 bins, .* give a window of 1 to 60 bins"),
        (f"{STREAM} --device abacus", "device.*abacus"),
        (
            f"{STREAM} --calibration 5",
            "--calibration 5: --threshold 0 is a number, which needs no calibration",
        ),
        ("merge none.npz", "none.npz: No such file"),
        ("merge x.npz", "x.npz is damaged, incomplete, or not a summary of ann2neo"),
        ("merge r.nwb", "r.nwb: a summary is kept in a .npz file"),
    ],
)
def test_what_cannot_be_streamed_or_merged(stimuli, capsys, command, message):
    assert re.search(message, error_of(capsys, command))


def test_processes_of_torchrun_have_their_parts(stimuli, capsys, monkeypatch):
    process = Process(rank=1, n_ranks=2)
    monkeypatch.setattr(ann2neo.summary.processes, "process_group", lambda device: nullcontext(process))
    assert "--part 1/2: the 2 processes of torchrun share all stimuli: leave --part out" in error_of(
        capsys, f"{STREAM} --part 1/2"
    )


def test_where_the_channels_are(stimuli):
    run(f"{STREAM.replace('my_models:random', 'my_models:maps')} --channel-dim 2 -o s.npz")
    assert Summary.load("s.npz").places.channel.tolist() == [0, 1, 2]

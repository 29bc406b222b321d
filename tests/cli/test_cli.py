import os
import re
import shlex
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision

import ann2neo
import ann2neo.cli.models
import ann2neo.study.data
from ann2neo import Summary
from ann2neo.cli import main
from ann2neo.cli.run import _parser
from ann2neo.cli.text import report
from ann2neo.files.save_load import SUFFIXES, load
from helpers.idx import write_idx_set
from helpers.sums import assert_same_sums

README = Path(__file__).parents[2] / "README.md"

MODELS = """
import torch
from pathlib import Path
from torch import nn

def relu():
    Path("built").touch()
    return nn.Sequential(nn.Flatten(), nn.ReLU())

class Stops(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.relu, self.calls, self.error = nn.ReLU(), 0, error

    def forward(self, x):
        self.calls += 1
        if x.max() > 100:
            raise self.error
        return self.relu(x)

class ChannelsLast(nn.Conv2d):
    def forward(self, x):
        assert self.weight.is_contiguous(memory_format=torch.channels_last)
        return super().forward(x)

class nested:
    linear = nn.Sequential(nn.Linear(3, 4), nn.ReLU())

def conv():
    return nn.Sequential(ChannelsLast(2, 3, 3), nn.ReLU())

def random():
    return nn.Sequential(nn.Linear(3, 40), nn.ReLU())

def unseeded():
    model = random()
    nn.init.uniform_(model[0].weight, generator=torch.Generator().manual_seed(99))
    return model

interrupted = Stops(KeyboardInterrupt())
broken = Stops(RuntimeError("a shape\\nthat does not fit"))
not_a_model = 3

def fails():
    return {}["missing"]
"""


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


def run(command, status=0):
    assert main(shlex.split(command)) == status


def record(options="", status=0, model="relu", output="r.nwb"):
    run(f"record --model my_models:{model} --data x.npz --output {output} {options}", status)
    return load(output, trust=True) if Path(output).exists() else None


def error_of(capsys, command, status=2):
    run(command, status)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ann2neo: error: ")
    assert err.count("\n") == 1
    return err


# -- record ------------------------------------------------------------------------------------------


def test_spikes_labels_and_ids_are_those_of_the_data(stimuli, capsys):
    recording = record("--seed 5 --trials 4 --bin-size 2.5 --batch-size 7 --threshold 0.25")
    ids = recording.stimuli.ids
    np.testing.assert_array_equal(recording.raster("1"), (np.maximum(stimuli[ids], 0) > 0.25).T)
    np.testing.assert_array_equal(recording.stimuli.labels, ids % 4)
    np.testing.assert_array_equal(np.sort(ids), np.arange(60))
    assert not np.array_equal(ids, np.arange(60))
    assert recording.time.trial_bins == (15,) * 4
    assert recording.time.bin_size == 2.5
    told = recording.annotations
    assert (told["model"], told["dataset"], told["shuffled"], told["seed"]) == (
        "my_models:relu",
        "x.npz",
        True,
        5,
    )
    assert "r.nwb: Recording(1 layer, 3 units, 60 bins of 2.5 ms in 4 trials" in capsys.readouterr().out


def test_number_and_order_of_stimuli(stimuli):
    recording = record("--no-shuffle --stimuli 20")
    np.testing.assert_array_equal(recording.stimuli.ids, np.arange(20))
    assert recording.annotations["shuffled"] is False


def test_layers_units_and_seed(stimuli):
    first = record("--units 5 --layers 1 --seed 1", model="random")
    again = record("--units 5 --layers 1 --seed 1 --overwrite", model="random")
    other = record("--units 5 --layers 0 1 --seed 2 --overwrite", model="random")
    assert first.layers == ["1"]
    assert first.n_units == 5
    assert first.rasters["1"] == again.rasters["1"]
    assert other.layers == ["0", "1"]
    assert other.rasters["1"] != first.rasters["1"]


def test_attribute_of_an_attribute_is_a_model(stimuli):
    assert record(model="nested.linear").n_units == 4


@pytest.mark.parametrize("rule", ["quantile:0.75", "zscore:0.5"])
def test_rules_are_calibrated_on_other_stimuli(stimuli, rule):
    recording = record(f"--threshold {rule} --stimuli 40 --calibration 15 --seed 3")
    others = stimuli[np.random.default_rng(3).permutation(60)[40:55]].astype(np.float32)
    assert not set(recording.stimuli.ids) & set(np.random.default_rng(3).permutation(60)[40:55])
    activation = np.maximum(others, 0).astype(np.float64)
    expected = {
        "quantile:0.75": np.quantile(activation, 0.75, axis=0),
        "zscore:0.5": activation.mean(axis=0) + 0.5 * activation.std(axis=0),
    }
    np.testing.assert_allclose(recording.rasters["1"].threshold, expected[rule], rtol=1e-12)


def test_calibration_leaves_the_rest_to_record(stimuli):
    assert record("--threshold quantile:0.5 --calibration 10").n_bins == 50


def test_time_within_stimuli(folder):
    np.save("x.npy", np.zeros((6, 5, 3), np.float32))
    run("record --model my_models:nested.linear --data x.npy --output r.nwb --time-dim 1 --no-shuffle")
    assert load("r.nwb").n_bins == 30


def test_fashion_mnist_through_a_torchvision_model(folder):
    write_idx_set(folder / "data" / "FashionMNIST" / "raw")
    common = "record --model squeezenet1_1 --data fashion-mnist --layers features.1 classifier.2 --units 50"
    run(f"{common} --stimuli 6 --output r.nwb")
    recording = load("r.nwb")
    assert recording.layers == ["features.1", "classifier.2"]
    assert recording.annotations["stimulus_shape"] == [3, 64, 64]
    assert recording.annotations["weights"] == "random"
    assert recording.annotations["classes"][9] == "Ankle boot"
    run(f"{common} --root data --split train --size 48 --stimuli 2 --output r.nwb --overwrite")
    assert load("r.nwb").annotations["stimulus_shape"] == [3, 48, 48]


def test_weights_bring_their_own_transforms(folder, monkeypatch):
    weights = torchvision.models.SqueezeNet1_1_Weights.DEFAULT
    torch.manual_seed(7)
    model = torchvision.models.squeezenet1_1().eval()
    checkpoint = folder / "hub" / "checkpoints" / Path(weights.url).name
    checkpoint.parent.mkdir(parents=True)
    torch.save(model.state_dict(), checkpoint)
    monkeypatch.setenv("TORCH_HOME", str(folder))
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 240, 300), np.uint8)
    np.save("x.npy", images)
    run(
        "record --model squeezenet1_1 --weights DEFAULT --data x.npy --output r.nwb "
        "--no-shuffle --layers features.1 --units 200"
    )
    with torch.no_grad():
        relu = model.features[:2](torch.stack([weights.transforms()(torch.from_numpy(x)) for x in images]))
    raster = load("r.nwb").rasters["features.1"]
    np.testing.assert_array_equal(raster.dense(), (relu > 0).flatten(1).T.numpy()[raster.units])
    assert 0 < raster.n_spikes < 400


def test_models_that_fix_the_size_of_images_get_it(folder, monkeypatch):
    class Fixed(torch.nn.Module):
        image_size = 20

        def __init__(self):
            super().__init__()
            self.relu = torch.nn.ReLU()

        def forward(self, x):
            return self.relu(x)

    np.save("x.npy", np.zeros((2, 30, 30, 3), np.uint8))
    monkeypatch.setattr(torchvision.models, "list_models", lambda: ["fixed"])
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: Fixed())
    run("record --model fixed --data x.npy --output r.nwb")
    assert load("r.nwb").rasters["relu"].shape == (3, 20, 20)
    run("record --model fixed --data x.npy --output r.nwb --overwrite --as-is")
    assert load("r.nwb").rasters["relu"].shape == (30, 30, 3)


# -- nothing is lost ---------------------------------------------------------------------------------


def test_an_error_on_the_way_saves_what_there_is(stimuli, capsys):
    stimuli[23, 1] = np.nan
    np.savez("x.npz", x=stimuli)
    recording = record("--no-shuffle --batch-size 10", status=1)
    np.testing.assert_array_equal(recording.raster("1"), (stimuli[:20] > 0).T)
    _, err = capsys.readouterr()
    assert "error: layer '1' gives NaN for stimulus 23, unit 1" in err
    assert "--allow-nan" in err
    assert "the 20 of 60 stimuli recorded until then are in r.nwb" in err
    assert record("--no-shuffle --allow-nan --overwrite").n_bins == 60


def test_an_error_at_once_saves_nothing(stimuli, capsys):
    stimuli[0] = 1000
    np.savez("x.npz", x=stimuli)
    assert record("--no-shuffle", status=2, model="broken") is None
    assert "error: a shape that does not fit\n" in capsys.readouterr().err


@pytest.mark.filterwarnings("always:interrupted")
def test_ctrl_c_saves_what_there_is(stimuli, capsys):
    stimuli[30] = 1000
    np.savez("x.npz", x=stimuli)
    recording = record("--no-shuffle --batch-size 10 --trials 2", 130, "interrupted")
    assert recording.time.trial_bins == (15, 15)
    assert "the 30 of 60 stimuli recorded until then are in r.nwb" in capsys.readouterr().err


def test_ctrl_c_at_once(stimuli, capsys):
    stimuli[0] = 1000
    np.savez("x.npz", x=stimuli)
    assert record("--no-shuffle", 130, "interrupted") is None
    assert capsys.readouterr().err == "ann2neo: interrupted\n"


def test_output_is_checked_before_the_work_is_done(stimuli, capsys, monkeypatch):
    Path("r.nwb").write_text("precious")
    command = "record --model my_models:relu --data x.npz --output"
    assert "r.nwb exists: give --overwrite" in error_of(capsys, f"{command} r.nwb")
    assert Path("r.nwb").read_text() == "precious"
    assert "'.h5': give one of .nwb, .nix, .pkl, .mat" in error_of(capsys, f"{command} r.h5")
    assert "there is no folder nowhere" in error_of(capsys, f"{command} nowhere/r.nwb")
    for library, suffix in (("pynwb", "nwb"), ("nixio", "nix")):
        monkeypatch.setitem(sys.modules, library, None)
        assert f"pip install 'ann2neo[{suffix}]'" in error_of(capsys, f"{command} new.{suffix}")
    assert not Path("built").exists()
    record(output="r.mat")
    assert Path("built").exists()


# -- bad input ---------------------------------------------------------------------------------------

RECORD = "record --data x.npz --output r.nwb --model"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{RECORD} resnet19", r"no such model \(resnet18, .*package.module:name"),
        (f"{RECORD} resnet18 --weights IMAGENET1K_V7", "resnet18 has DEFAULT, IMAGENET1K_V1"),
        (f"{RECORD} nowhere:model", "nowhere:model: ModuleNotFoundError: No module named 'nowhere'"),
        (f"{RECORD} my_models:model", "AttributeError: module 'my_models' has no attribute 'model'"),
        (f"{RECORD} my_models:fails", "my_models:fails: KeyError: 'missing'"),
        (f"{RECORD} my_models:not_a_model", "TypeError: 'int' object is not callable"),
        (f"{RECORD} my_models:Path", "gives a PosixPath, not a torch.nn.Module"),
        (f"{RECORD} my_models:relu --weights DEFAULT", "only for torchvision models"),
        (f"{RECORD} my_models:relu --layers conv*", r"no layer matches 'conv\*'; the model has .*1 \(ReLU\)"),
        (f"{RECORD} my_models:relu --threshold high", "--threshold high: give a number, quantile:0.9"),
        (f"{RECORD} my_models:relu --threshold median:3", "--threshold median:3: give a number"),
        (f"{RECORD} my_models:relu --threshold quantile:2", "give a fraction between 0 and 1"),
        (f"{RECORD} my_models:relu --threshold zscore:2", "all and --calibration 500, but x.npz has 60"),
        (f"{RECORD} my_models:relu --calibration 5", "--calibration 5: a number as --threshold is not"),
        (f"{RECORD} my_models:relu --threshold zscore:2 --calibration 0", "--calibration 0: give at least"),
        (f"{RECORD} my_models:relu --stimuli 61", "--stimuli 61, but x.npz has 60 stimuli"),
        (f"{RECORD} my_models:relu --stimuli 0", "--stimuli 0: give at least one"),
        (f"{RECORD} my_models:relu --units 0", "units=0: give at least one"),
        (f"{RECORD} my_models:relu --batch-size 0", "batch_size=0"),
        (f"{RECORD} my_models:relu --trials 61", "--trials 61, but only 60 stimuli"),
        (f"{RECORD} my_models:relu --bin-size -1", "bin_size=-1.0: give a positive"),
        (f"{RECORD} my_models:relu --device abacus", "device.*abacus"),
        (f"{RECORD} my_models:relu --size 8", r"shape \(3,\) is no image"),
        (f"{RECORD} my_models:relu --as-is --size 8", "--as-is leaves the stimuli as they are"),
        (f"{RECORD} my_models:relu --download", "download.* is for fashion-mnist.* not for x.npz"),
        ("record --data y.npy --output r.nwb --model my_models:relu", "there is no file y.npy"),
        ("record --data cifar10 --output r.nwb --model my_models:relu", "cifar10 is not in data.*--download"),
        ("record --data digit --output r.nwb --model my_models:relu", "no data set, folder or file 'digit'"),
        ("info missing.nwb", "missing.nwb: No such file or directory"),
        ("info x.npz", "unknown suffix '.npz'"),
        ("info damaged.nwb", "damaged.nwb is damaged, incomplete, or not a .nwb file"),
        ("summarize missing.nwb", "missing.nwb: No such file"),
        ("convert missing.nwb r.mat", "missing.nwb: No such file"),
        ("convert missing.nwb x.npz", "unknown suffix '.npz'"),
        ("plot missing.nwb", "missing.nwb: No such file"),
        ("plot missing.nwb -o x.npz", "x.npz exists: give --overwrite"),
    ],
)
def test_errors_are_one_line(stimuli, capsys, command, message):
    Path("damaged.nwb").write_bytes(b"not HDF5")
    assert re.search(message, error_of(capsys, command))
    assert not Path("r.nwb").exists()


def test_traceback_on_request(stimuli):
    with pytest.raises(ValueError, match="no layer matches"):
        run(f"{RECORD} my_models:relu --layers conv --traceback")


# -- the other commands ------------------------------------------------------------------------------


@pytest.fixture
def recorded(stimuli):
    return record("--trials 3 --bin-size 0.3 --seed 1")


def test_every_conversion_keeps_everything(recorded, capsys):
    for suffix in SUFFIXES[1:]:
        run(f"convert r.nwb r{suffix}")
    for one, other in permutations(SUFFIXES, 2):
        run(f"convert r{one} {one[1:]}-to{other} --trust")
        assert load(f"{one[1:]}-to{other}", trust=True) == recorded
    capsys.readouterr()
    assert "give --trust" in error_of(capsys, "convert r.pkl new.nwb")
    assert "r.mat exists: give --overwrite" in error_of(capsys, "convert r.nwb r.mat")
    run("convert r.nwb r.mat --overwrite")


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
    assert "u.csv exists: give --overwrite" in error_of(capsys, "summarize r.nwb --units-table u.csv")
    assert "window=61" in error_of(capsys, "summarize r.nwb --window 61")
    assert Path("u.csv").read_text() == "precious"


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
    assert "r.png exists: give --overwrite" in (capsys.readouterr(), error_of(capsys, "plot r.nwb"))[1]


def test_demo_gets_its_arguments(folder, monkeypatch):
    import ann2neo.study.demo

    given = []
    monkeypatch.setattr(ann2neo.study.demo, "run", lambda *args, **kwargs: given.append((args, kwargs)))
    run("demo --output there --seed 3")
    assert given == [(("there",), {"seed": 3, "progress": True})]


# -- summarize a network -------------------------------------------------------------------------------

MODEL = "summarize --data x.npz --model my_models:random"


def in_library(**arguments):
    """What the library says of the stimuli and the model that ``MODEL`` names."""
    model, _ = ann2neo.cli.models.load_model("my_models:random")
    return ann2neo.summarize(model, ann2neo.study.data.load_data("x.npz"), **{"n_stimuli": 60, **arguments})


def test_a_network_is_summarized_as_by_the_library(stimuli, capsys):
    run(
        f"{MODEL} --layers * --units 7 --threshold 0.1 --window 6 --trials 4 --bin-size 2 --batch-size 16 "
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


def test_a_saved_summary_is_printed_again(stimuli, capsys):
    run(f"{MODEL} --window 6 -o s.npz")
    first = capsys.readouterr().out.split("\n\n", 1)[1]
    run("summarize s.npz --units-table u.csv")
    out = capsys.readouterr().out
    assert out.startswith("s.npz: Summary(40 units, 60 bins of 1 ms, windows of 6 bins")
    assert out.split("\n\n", 1)[1] == first
    assert len(pd.read_csv("u.csv")) == 40
    run("record --model my_models:random --data x.npz -o r.nwb")
    capsys.readouterr()
    run("summarize r.nwb s.npz --window 20", 2)
    assert "--window is for recordings; s.npz is a summary" in capsys.readouterr().err
    run("summarize r.nwb s.npz")
    out = capsys.readouterr().out
    assert re.findall("^.*npz: |^.*nwb: ", out, re.MULTILINE) == ["r.nwb: ", "s.npz: "]


def test_what_has_no_windows_and_no_intervals_is_said_to_be_so(stimuli, capsys):
    run(MODEL)
    out = capsys.readouterr().out
    assert "\nOne complete window of 60 bins: a Fano factor needs several; give a shorter" in out
    row = [line.split() for line in out.splitlines() if line.startswith("network")][2]
    assert (row[5], row[7]) == ("n/a", "n/a")
    assert "\nn/a: tests of intervals need their histogram: isi_histogram=True, --isi-hist" in out
    assert max(map(len, out.splitlines())) <= 100
    assert "nan" not in out
    run(f"{MODEL} --part 1/20 --batch-size 1 --window 50")
    assert "No complete window of 50 bins" in capsys.readouterr().out
    run(f"{MODEL} --isi-histogram --window 6")
    out = capsys.readouterr().out
    assert "n/a" not in out
    assert "complete window" not in out


def test_mixed_precision_and_memory_format(folder, capsys):
    images = np.random.default_rng(0).normal(size=(50, 2, 6, 6)).astype(np.float32)
    np.save("x.npy", images)
    options = "summarize --model my_models:conv --data x.npy --no-shuffle --window 10"
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
    assert "my_models:random has no weights of two-dim" in error_of(capsys, f"{MODEL} --channels-last")


def test_parts_are_merged_in_any_order(stimuli, capsys):
    options = f"{MODEL} --window 7 --trials 2 --batch-size 8 --isi-histogram"
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
        run(f"{MODEL} --window 7 --batch-size 8 --part {i}/3 -o part-{i}.npz")
    run(f"{MODEL} --window 9 --batch-size 8 --part 2/3 -o other.npz")
    run(f"{MODEL} --window 7 --batch-size 8 --seed 1 --part 2/3 -o reseeded.npz")
    run(f"{MODEL} --window 7 --batch-size 8 --units 5 --part 2/3 -o fewer.npz")
    np.savez("y.npz", x=stimuli)
    for changed, by, output in (("random", "unseeded", "weights"), ("x.npz", "y.npz", "data")):
        run(f"{MODEL.replace(changed, by)} --window 7 --batch-size 8 --part 2/3 -o {output}.npz")
    capsys.readouterr()
    for files, message in [
        ("part-1 part-3", "part-1.npz and part-3.npz: cannot merge: one summary has the bins 0 to 23, .* 48"),
        ("part-1 part-2 part-2", "part-2.npz and part-2.npz: .* each once"),
        ("part-1 other", "part-1.npz and other.npz: .* window=7, the other 9: make all parts alike"),
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
    assert err == "ann2neo: warning: parts are lacking: these are the bins 0 to 47 of 60\n"
    assert "\nbins 0 to 47 of 60\n" in out
    run("merge part-1.npz data.npz part-3.npz")
    told = "ann2neo: warning: part-1.npz and data.npz differ in dataset: x.npz and y.npz\n"
    assert capsys.readouterr().err == told


def test_a_part_without_stimuli(stimuli, capsys):
    run(f"{MODEL} --batch-size 32 --part 3/3 -o part-3.npz")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "ann2neo: no batch of 32 stimuli is left for part 3 of 3\n")
    assert not Path("part-3.npz").exists()


def test_a_checkpoint_is_continued_by_the_same_command_only(stimuli, capsys):
    command = f"{MODEL} --window 6 --batch-size 16 --checkpoint run.npz"
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
    command = "summarize --data x.npz --no-shuffle --batch-size 10 --window 5 --overwrite"
    for model, status, message in [
        ("broken", 1, "error: a shape that does not fit"),
        ("interrupted", 130, "warning: interrupted: returning the 30 bins added up so far"),
    ]:
        run(f"{command} --model my_models:{model} {options}", status)
        out, err = capsys.readouterr()
        assert err.splitlines() == [
            f"ann2neo: {message}",
            "ann2neo: what follows is of the 30 bins added up until then",
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
    run(MODEL)
    assert re.search(r"summarizing: 100%.* 60/60 .* stimuli/s\]", capsys.readouterr().err)


def test_outputs_of_a_summary_are_checked_before_the_work_is_done(stimuli, capsys, monkeypatch):
    Path("taken.npz").write_text("precious")
    Path("taken.csv").write_text("precious")
    command = "summarize --model my_models:relu --data x.npz"
    for options, message in [
        ("-o taken.npz", "taken.npz exists: give --overwrite"),
        ("-o s.nwb", "s.nwb: a summary is kept in a .npz file"),
        ("-o nowhere/s.npz", "there is no folder nowhere"),
        ("--checkpoint s.nwb", "s.nwb: a summary is kept in a .npz file"),
        ("--checkpoint nowhere/s.npz", "there is no folder nowhere"),
        ("--units-table taken.csv", "taken.csv exists: give --overwrite"),
        ("--layers-table l.xlsx", "l.xlsx: unknown suffix '.xlsx' of a table: give one of .csv, .parquet"),
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
        ("summarize", "name files to summarize, or else a network by --model"),
        (f"{MODEL} r.nwb", "name files to summarize, or else a network by --model"),
        ("summarize --model my_models:random", "give the stimuli to show as --data"),
        ("summarize r.nwb --data x.npz", "--data is for a network"),
        ("summarize r.nwb --trials 1", "--trials is for a network"),
        ("summarize r.nwb --seed 0", "--seed is for a network"),
        ("summarize r.nwb --amp", "--amp is for a network"),
        ("summarize r.nwb --checkpoint c.npz", "--checkpoint is for a network"),
        ("summarize r.nwb --part 1/2", "--part is for a network"),
        ("summarize r.nwb -o s.npz", "--output is for a network"),
        ("summarize s.npz --engine elephant", "--engine is for recordings; s.npz is a summary"),
        ("summarize s.npz --trust", "--trust is for recordings; s.npz is a summary"),
        ("summarize a.nwb b.nwb --units-table u.csv", "--units-table is for one file: name one"),
        (f"{MODEL} --engine raster", "--engine is for recordings in files"),
        (f"{MODEL} --trust", "--trust is for recordings in files"),
        (f"{MODEL} --part 0/2", "--part 0/2: give I/N, the Ith of N parts, from 1/N to N/N"),
        (f"{MODEL} --part 3/2", "--part 3/2: give I/N"),
        (f"{MODEL} --part 2", "--part 2: give I/N"),
        (f"{MODEL} --trials 61", "--trials 61, but only 60 stimuli"),
        (f"{MODEL} --batch-size 0", "batch_size=0: give at least one"),
        (f"{MODEL} --window 0", "window=0: give a whole number"),
        (f"{MODEL} --device abacus", "device.*abacus"),
        (f"{MODEL} --calibration 5", "--calibration 5: a number as --threshold is not"),
        ("merge none.npz", "none.npz: No such file"),
        ("merge x.npz", "x.npz is damaged, incomplete, or not a summary of ann2neo"),
        ("merge r.nwb", "r.nwb: a summary is kept in a .npz file"),
        ("summarize x.npz", "x.npz is damaged, incomplete, or not a summary of ann2neo"),
    ],
)
def test_what_cannot_be_summarized(stimuli, capsys, command, message):
    assert re.search(message, error_of(capsys, command))


def test_a_reader_who_has_had_enough(stimuli):
    run(f"{MODEL} -o s.npz")
    code = "import sys; from ann2neo.cli import main; sys.exit(main(['summarize', 's.npz']))"
    reader, writer = os.pipe()
    os.close(reader)
    told = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (told.returncode, told.stderr) == (1, "")


# -- help --------------------------------------------------------------------------------------------

COMMANDS = ("demo", "record", "summarize", "merge", "info", "convert", "plot")


def commands_in(text):
    lines = text.replace("\\\n", " ").splitlines()
    commands = [re.sub("^torchrun .* -m ", "", line.strip()) for line in lines]
    return [command for command in commands if command.startswith("ann2neo ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_that_can_be_parsed(command, capsys):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    examples = commands_in(capsys.readouterr().out.split("example:")[1])
    assert examples
    for example in examples:
        assert _parser().parse_args(shlex.split(example)[1:]).run is not None


def test_commands_in_the_readme_can_be_parsed():
    blocks = re.findall(r"```sh\n(.*?)```", README.read_text(), re.DOTALL)
    examples = [example for block in blocks for example in commands_in(block)]
    assert len(examples) >= 5
    for example in examples:
        assert _parser().parse_args(shlex.split(example, comments=True)[1:]).run is not None


def test_without_a_command_help_is_printed(capsys):
    run("")
    out = capsys.readouterr().out
    assert all(command in out for command in COMMANDS)


def test_wrong_arguments_exit_with_2(capsys):
    for arguments in (["record"], ["sumarize"], ["info", "a", "--bogus"]):
        with pytest.raises(SystemExit) as exit_:
            main(arguments)
        assert exit_.value.code == 2


def test_the_command_is_a_module_that_loads_nothing_heavy():
    code = (
        "import runpy, sys; sys.argv = ['ann2neo', '--version']\n"
        "try: runpy.run_module('ann2neo', run_name='__main__')\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print(sorted({'neo', 'pandas', 'scipy', 'torchvision', 'matplotlib', 'sklearn'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == f"ann2neo {ann2neo.__version__}\n[]\n"


def test_recording_beyond_its_memory(stimuli, capsys):
    plain = record("--no-shuffle --batch-size 8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ann2neo.recording.spill.BINS_IN_TILE", 8)
        Path("out").mkdir()
        spilled = record("--no-shuffle --batch-size 8 --memory 4B", output="out/r.nwb")
    assert {**spilled.rasters} == {**plain.rasters}
    assert sorted(os.listdir("out")) == ["r.nwb"]
    capsys.readouterr()
    command = "record --model my_models:relu --data x.npz --output s.nwb"
    assert "--spill-to is for what exceeds --memory" in error_of(capsys, f"{command} --spill-to .")
    assert "memory='much'" in error_of(capsys, f"{command} --memory much")

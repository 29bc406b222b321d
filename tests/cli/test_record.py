"""``ann2neo record``."""

import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from ann2neo.files.save_load import load
from helpers.command_line import EXISTS, error_of, record, run
from helpers.idx import write_idx_set


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


def test_where_the_channels_are(stimuli, capsys):
    for told, channel in (
        ("", [-1, -1, -1]),
        ("--channel-dim 2", [0, 1, 2]),
        ("--channel-dim=-1", [0, 0, 0]),
    ):
        assert record(f"{told} --overwrite", model="maps").units.channel.tolist() == channel
    capsys.readouterr()
    command = "record --model my_models:maps --data x.npz -o s.nwb --channel-dim 0"
    assert "--channel-dim 0, but" in error_of(capsys, command)


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


def test_an_error_on_the_way_saves_what_there_is(stimuli, capsys):
    stimuli[23, 1] = np.nan
    np.savez("x.npz", x=stimuli)
    recording = record("--no-shuffle --batch-size 10", status=1)
    np.testing.assert_array_equal(recording.raster("1"), (stimuli[:20] > 0).T)
    _, err = capsys.readouterr()
    assert "error: layer '1' gives NaN for stimulus 23, unit 1" in err
    assert "go on with --allow-nan, which counts NaN as no spike" in err
    assert "r.nwb holds the 20 of 60 stimuli recorded before that" in err
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
    assert "r.nwb holds the 30 of 60 stimuli recorded before that" in capsys.readouterr().err


def test_ctrl_c_at_once(stimuli, capsys):
    stimuli[0] = 1000
    np.savez("x.npz", x=stimuli)
    assert record("--no-shuffle", 130, "interrupted") is None
    assert capsys.readouterr().err == "ann2neo: interrupted\n"


def test_output_is_checked_before_the_work_is_done(stimuli, capsys, monkeypatch):
    Path("r.nwb").write_text("precious")
    command = "record --model my_models:relu --data x.npz --output"
    assert f"r.nwb {EXISTS}" in error_of(capsys, f"{command} r.nwb")
    assert Path("r.nwb").read_text() == "precious"
    assert "'.h5': give one of .nwb, .nix, .pkl, .mat" in error_of(capsys, f"{command} r.h5")
    assert "there is no folder nowhere" in error_of(capsys, f"{command} nowhere/r.nwb")
    for library, suffix in (("pynwb", "nwb"), ("nixio", "nix")):
        monkeypatch.setitem(sys.modules, library, None)
        assert f"pip install 'ann2neo[{suffix}]'" in error_of(capsys, f"{command} new.{suffix}")
    assert not Path("built").exists()
    record(output="r.mat")
    assert Path("built").exists()


def test_recording_beyond_its_memory(stimuli, capsys):
    plain = record("--no-shuffle --batch-size 8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ann2neo.recording.spill.BINS_IN_TILE", 8)
        made, real = [], tempfile.TemporaryFile
        patch.setattr("tempfile.TemporaryFile", lambda **how: made.append(how["dir"]) or real(**how))
        Path("out").mkdir()
        spilled = record("--no-shuffle --batch-size 8 --memory 4B", output="out/r.nwb")
    assert {**spilled.rasters} == {**plain.rasters}
    # numba tries whether it can write its cache
    assert [folder for folder in made if Path(folder).name != "__pycache__"] == [Path("out")]
    assert sorted(os.listdir("out")) == ["r.nwb"]
    capsys.readouterr()
    command = "record --model my_models:relu --data x.npz --output s.nwb"
    told = error_of(capsys, f"{command} --spill-to .")
    assert "--spill-to is for spikes that exceed --memory: give --memory, too" in told
    assert "--memory much" in error_of(capsys, f"{command} --memory much")

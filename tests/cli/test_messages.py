"""What commands say when something is wrong."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from ann2neo import Recording, SpikeRaster, save
from helpers.command_line import EXISTS, error_of, run

RECORD = "record --data x.npz --output r.nwb --model"


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{RECORD} resnet19", r"no such model \(did you mean .*resnet18.*\?\); give .*package.module:name"),
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
        (
            f"{RECORD} my_models:relu --threshold zscore:2",
            "all and --calibration 500, but x.npz has 60",
        ),
        (
            f"{RECORD} my_models:relu --calibration 5",
            "--calibration 5: --threshold 0 is a number, which",
        ),
        (f"{RECORD} my_models:relu --threshold zscore:2 --calibration 0", "--calibration 0: give at least"),
        (f"{RECORD} my_models:relu --stimuli 61", "--stimuli 61, but x.npz has 60 stimuli: ask for fewer"),
        (f"{RECORD} my_models:relu --stimuli 0", "--stimuli 0: give at least one"),
        (f"{RECORD} my_models:relu --units 0", "--units 0: give at least one"),
        (f"{RECORD} my_models:relu --batch-size 0", "--batch-size 0"),
        (
            f"{RECORD} my_models:relu --trials 61",
            "--trials 61, but only 60 stimuli are shown: give",
        ),
        (f"{RECORD} my_models:relu --bin-size -1", "--bin-size -1.0: give a positive"),
        (f"{RECORD} my_models:relu --device abacus", "device.*abacus"),
        (f"{RECORD} my_models:relu --size 8", r"shape \(3,\) is not an image"),
        (f"{RECORD} my_models:relu --as-is --size 8", "--as-is leaves the stimuli as they are"),
        (f"{RECORD} my_models:relu --download", "download.* does not apply to x.npz: .* fashion-mnist"),
        ("record --data y.npy --output r.nwb --model my_models:relu", "there is no file y.npy"),
        ("record --data cifar10 --output r.nwb --model my_models:relu", "cifar10 is not in data.*--download"),
        ("record --data digit --output r.nwb --model my_models:relu", "no data set, folder or file 'digit'"),
        (
            f"{RECORD} my_models:relu --spill-to .",
            "--spill-to is for spikes that exceed --memory",
        ),
        (f"{RECORD} zzz", r"no such model \(it has resnet18, for example\); give your own"),
        ("info missing.nwb", "missing.nwb: No such file or directory"),
        ("info x.npz", "x.npz is damaged, incomplete, or not a summary of ann2neo"),
        ("plot x.npz", "x.npz is a summary, which keeps no spikes to draw: ann2neo compare x.npz"),
        (f"{RECORD} my_models.py:relu", "my_models.py is a file: give its module, my_models:relu"),
        (f"{RECORD} my_models:relu --device gpu", "--device gpu: torch has no such device: give cpu, cuda"),
        (
            "layers --model my_models:nested.linear",
            r"cannot take stimuli of shape 3 64 64 \(.*\): .* --input-shape",
        ),
        ("info damaged.nwb", "damaged.nwb is damaged, incomplete, or not a .nwb file"),
        ("summarize missing.nwb", "missing.nwb: No such file"),
        ("convert missing.nwb r.mat", "missing.nwb: No such file"),
        ("convert missing.nwb x.npz", "unknown suffix '.npz'"),
        ("plot missing.nwb", "missing.nwb: No such file"),
        (
            "plot missing.nwb -o x.npz",
            re.escape(f"x.npz {EXISTS}"),
        ),
    ],
)
def test_errors_are_one_line(stimuli, capsys, command, message):
    Path("damaged.nwb").write_bytes(b"not HDF5")
    assert re.search(message, error_of(capsys, command))
    assert not Path("r.nwb").exists()


def test_traceback_on_request(stimuli):
    with pytest.raises(ValueError, match="no layer matches"):
        run(f"{RECORD} my_models:relu --layers conv --traceback")


def test_advice_names_the_option(folder, capsys):
    """Where the library names an argument that would help, the command line names its option."""
    save(Recording({"relu": SpikeRaster.from_dense(np.eye(3))}), "r.nwb")
    np.savez("nan.npz", x=np.full((3, 3), np.nan))
    Path("p.pkl").write_bytes(pickle.dumps(3))
    Path("neurons.txt").write_text("0.012\t0.031\n0.020\t0.040\n")
    Path("made_up.fake").touch()  # Neo's ExampleIO makes up two blocks
    record = "record --model my_models:relu -o new.nwb --data"
    for command, argument, option in [
        ("convert r.nwb r.nwb", "overwrite=True", "--overwrite"),
        ("info p.pkl", "trust=True", "--trust"),
        (f"{record} cifar10", "download=True", "--download"),
        (f"{record} mnist", "download=True", "--download"),
        (f"{record} nan.npz", "allow_nan=True", "--allow-nan"),
        ("stream --model my_models:relu --data nan.npz", "allow_nan=True", "--allow-nan"),
        ("info neurons.txt", "bin_size=1", "--bin-size 1"),
        ("info made_up.fake --bin-size 1", "block=0", "--block 0"),
    ]:
        said = error_of(capsys, command)
        assert re.search(rf"{option}\b", said), command
        assert argument not in said, command
    for command, told in [
        ("summarize r.nwb --window 4", "--window 4 bins, but the longest of 1 trial"),
        ("summarize r.nwb --window 0", "--window 0 bins, but the longest of 1 trial"),
        ("info r.nwb --block 3", "r.nwb holds one Block only: leave out --block 3"),
        ("info neurons.txt --bin-size 0", "--bin-size 0.0: give a positive, finite time"),
    ]:
        assert told in error_of(capsys, command)

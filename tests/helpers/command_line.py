"""Commands of the command line, run in this process, and the models and files that they name."""

import shlex
from pathlib import Path

from ann2neo.cli import main
from ann2neo.files.save_load import load

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

def maps():
    return nn.Sequential(nn.Unflatten(1, (1, 3, 1)), nn.ReLU())

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


EXISTS = "exists: give --overwrite to replace it"
"""What every command says of a file that it would have to replace."""

STREAM = "stream --data x.npz --model my_models:random"


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

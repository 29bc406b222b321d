"""What modules hold between passes: reset before each batch where that is known, and then as it was."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Monitor, layers, record, summarize
from ann2neo.model.hooks.names import gives_spikes
from ann2neo.model.runs.evaluation import evaluation
from ann2neo.pruning import prunable

Pair = namedtuple("Pair", "v i")


def leak(v, x):
    v = 0.5 * v + x
    return v, (v > 0).to(x.dtype)


class Holding(nn.Module):
    """Integrates over its calls what it is given, and holds that in one of the places where people do."""

    def __init__(self, place):
        super().__init__()
        self.place, self.act = place, nn.ReLU()
        if place in ("a buffer", "in place"):
            self.register_buffer("v", torch.zeros(3))
        elif place == "a list":
            self.v = []
        elif place == "a dict":
            self.v = {}
        elif place == "a tuple":
            self.v = Pair(torch.zeros(3), (torch.zeros(3), "i"))
        elif place == "an attribute":
            self.v = None
        elif place == "a number":
            self.v = 0.0

    def forward(self, x):
        if self.place == "a buffer":
            self.v = 0.5 * self.v + x[-1]
            v = self.v
        elif self.place == "in place":
            v = self.v.mul_(0.5).add_(x[-1])
        elif self.place == "a list":
            self.v.append(x[-1])
            v = torch.stack(self.v).sum(0)
        elif self.place == "a dict":
            self.v.setdefault("v", torch.zeros(3)).add_(x[-1])
            v = self.v["v"]
        elif self.place == "a tuple":
            v = self.v.v.add_(x[-1]) + self.v.i[0]
        elif self.place == "no attribute before":
            v = self.v = getattr(self, "v", 0) + x[-1]
        else:
            v = self.v = (self.v if self.v is not None else 0) + x[-1]
        return self.act(v + x)


PLACES = (
    "a buffer",
    "in place",
    "a list",
    "a dict",
    "a tuple",
    "an attribute",
    "a number",
    "no attribute before",
)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_held_as_before(place, fails):
    model = Holding(place)
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    if place != "no attribute before":
        model(x)  # what a user showed
    before = {**vars(model), **model._buffers}
    shown = str({k: v for k, v in before.items() if k in ("v", "_buffers")})
    with torch.inference_mode():
        again = record(model, x, batch_size=4)
    if fails:
        with pytest.raises(Exception, match="nan"):
            record(model, [x, x * float("nan")])
    assert again == record(model, x, batch_size=4, annotations=again.annotations)
    summarize(model, x, window=2)
    Monitor(window=2).observe(model, x)
    after = {**vars(model), **model._buffers}
    assert after.keys() == before.keys()
    assert all(after[name] is value for name, value in before.items())
    assert str({k: v for k, v in after.items() if k in ("v", "_buffers")}) == shown
    model(x)  # as before


def test_what_is_shared_stays_shared():
    model = nn.Sequential(Holding("in place"), Holding("in place"))
    model[1].register_buffer("v", model[0].v)
    with evaluation(model):
        assert model[0].v is model[1].v
        model(torch.ones(2, 3))
    assert model[0].v is model[1].v
    assert not model[0].v.any()


def test_weights_are_not_copied():
    model = nn.Sequential(nn.LSTM(3, 4), nn.LazyLinear(3))
    weights = model[0]._flat_weights
    with evaluation(model):
        assert model[0]._flat_weights is weights
    lazy = nn.Sequential(nn.LazyBatchNorm1d(), nn.ReLU())
    record(lazy, torch.randn(4, 3))
    assert lazy[0].running_mean.shape == (3,)


def test_numbers_that_are_no_state_stay():
    class Counting(nn.Module):
        n_calls = 0

        def forward(self, x):
            self.n_calls += 1
            return x.relu()

    model = Counting()
    record(model, torch.randn(4, 3), batch_size=2)
    assert model.n_calls == 2


# -- neurons of other libraries ----------------------------------------------------------------------


def neuron(package, name, base=nn.Module, **methods):
    """Return a class that looks as if it were a library's."""
    return type(name, (base,), {"__module__": f"{package}.somewhere.inside", **methods})


class Neuron(nn.Module):
    def __init__(self):
        super().__init__()
        self.v, self.n_resets = 0.0, [0]

    def forward(self, x):
        self.v, spikes = leak(self.v, x)
        return spikes

    def forget(self):
        self.v = 0.0
        self.n_resets[0] += 1


MEMORY = neuron("spikingjelly", "MemoryModule", Neuron, reset=Neuron.forget)
NEURONS = {
    "spikingjelly": neuron("mine", "LIF", neuron("spikingjelly", "BaseNode", MEMORY)),
    "snntorch": neuron(
        "snntorch", "Leaky", neuron("snntorch", "SpikingNeuron", Neuron, reset_mem=Neuron.forget)
    ),
}


@pytest.mark.parametrize("library", NEURONS)
def test_neurons_are_found_and_reset_before_each_batch(library):
    model = nn.Sequential(nn.Linear(3, 4), NEURONS[library]())
    x = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    model(x[:5])
    held = model[1].v
    recording = record(model, x, batch_size=4)
    assert recording.layers == ["1"]
    np.testing.assert_array_equal(recording.raster("1"), (model[0](x) > 0).T)
    assert model[1].v is held
    assert layers(model, x).query("by_default").layer.tolist() == ["1"]
    summary = summarize(model, x, window=3, batch_size=2)
    assert summary.units.n_spikes.tolist() == recording.rasters["1"].counts.tolist()
    assert not prunable(model, x[:1])


@pytest.mark.parametrize(
    ("kind", "spikes"),
    [
        (neuron("norse", "SNN"), True),
        (neuron("norse", "LIFRecurrentCell", neuron("norse", "SNNRecurrentCell")), True),
        (neuron("norse", "LICell", neuron("norse", "SNNCell")), False),
        (neuron("norse", "Lift"), False),
        (neuron("spikingjelly", "PSN"), True),
        (neuron("spikingjelly", "NonSpikingBaseNode"), False),
        (neuron("spikingjelly", "Dropout", MEMORY), False),
        (neuron("mine", "SpikingNeuron"), False),
        (neuron("snntorchvision", "SpikingNeuron"), False),
    ],
)
def test_what_spikes(kind, spikes):
    assert gives_spikes(kind()) == spikes


def test_of_snntorch_itself():
    snntorch = pytest.importorskip("snntorch")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), snntorch.Leaky(beta=0.9, init_hidden=True))
    x = torch.randn(8, 3) * 3
    with torch.no_grad():
        model(x[:4])
    held, before = model[1].mem, model[1].mem.clone()
    recording = record(model, x, batch_size=4)
    np.testing.assert_array_equal(recording.raster("1"), (model[0](x) > 1).T)
    assert model[1].mem is held
    assert torch.equal(held, before)


class Ring(nn.Module):
    """A buffer, a view of it, and a place in it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("past", torch.zeros(6, 4))
        self.last, self.place, self.fc = self.past[-1], 0, nn.Linear(4, 4)

    def forward(self, x):
        self.past.copy_(torch.roll(self.past, -1, 0))
        self.past[-1] = x.detach().mean(0)
        self.place += 1
        return torch.relu(self.fc(x + self.last))


def test_views_stay_views_and_numbers_are_given_back():
    model, x = Ring(), torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    recording = record(model, x, batch_size=10)
    assert model.place == 0
    assert not model.past.any()
    assert model.last.data_ptr() == model.past[-1].data_ptr()
    with torch.no_grad():
        expected = torch.cat([model(batch) for batch in x.split(10)]) > 0
    assert (recording.raster("relu") == expected.numpy().T).all()

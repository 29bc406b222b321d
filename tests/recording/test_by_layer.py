"""Dicts by layer: an exact name wins over a glob, wherever it stands, and all arguments are read alike."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ann2neo import Probe, Recording, SpikeRaster, Summary, calibrate, record, summarize
from ann2neo.recording.by_layer import key_for, value_for

NAMES = ["conv1", "conv2", "block.relu", "block.relu_1", "a[1]", "fc"]
GLOBS = ["*", "conv*", "block.*", "*relu*", "?c", "a[1]", "[a-z]*"]
X = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))


@given(st.data())
def test_the_order_of_keys_never_matters_where_an_exact_name_is_there(data):
    names = data.draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    own = data.draw(st.sampled_from(names))
    others = data.draw(st.lists(st.sampled_from([*GLOBS, *NAMES]), unique=True))
    keys = data.draw(st.permutations(list(dict.fromkeys([*others, own]))))
    # the first of the layer's names that is a key
    assert key_for("threshold", dict.fromkeys(keys), *names) == next(name for name in names if name in keys)


@given(st.permutations(["c*", "*1", "*"]))
def test_the_first_of_several_globs_wins(globs):
    assert value_for("units", {key: key for key in globs}, "conv1") == globs[0]


class Net(nn.Module):
    """One module fires twice and has two names."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.act = nn.Linear(4, 8), nn.ReLU()
        self.alias, self.last = self.act, nn.Tanh()

    def forward(self, x):
        return self.last(self.act(self.act(self.linear(x)) - 0.1))


DICTS = [{"*": 1, "last": 3, "act": 2}, {"last": 3, "act": 2, "*": 1}, {"act": 2, "*": 1, "last": 3}]


@pytest.mark.parametrize("by_layer", DICTS)
def test_every_argument_is_read_alike(by_layer):
    expected = {"act": 2, "act_1": 2, "last": 3}
    recording = record(Net(), X, units=by_layer, threshold=by_layer)
    assert {name: raster.n_units for name, raster in recording.rasters.items()} == expected
    assert {name: raster.threshold[0] for name, raster in recording.rasters.items()} == expected
    frozen = calibrate(Net(), X, by_layer, units=by_layer)
    assert {name: (len(values), values[0]) for name, values in frozen.items()} == {
        name: (n, n) for name, n in expected.items()
    }
    summary = Summary()
    net = Net()
    with Probe(net, units=by_layer, threshold=by_layer, into=[summary]):
        net(X)
    streamed = summarize(Net(), X, units=by_layer, threshold=by_layer)
    for each in (summary, streamed):
        assert each.units.groupby("layer").threshold.agg(["size", "first"]).to_dict("index") == {
            name: {"size": n, "first": n} for name, n in expected.items()
        }
    thresholds = Summary().update({name: torch.ones(2, 3) for name in expected}, by_layer).units.threshold
    assert thresholds.tolist() == [2] * 3 + [1] * 3 + [3] * 3  # a summary knows no modules, only layers


@pytest.mark.parametrize("argument", ["units", "threshold"])
def test_a_layer_answers_to_all_its_names(argument):
    def of(**given):
        rasters = record(Net(), X, **{argument: given}).rasters.values()
        return [r.n_units if argument == "units" else int(r.threshold[0]) for r in rasters]

    assert of(**{"*": 1, "alias": 5}) == [5, 5, 1]
    assert of(**{"*": 1, "alias": 5, "act": 4, "act_1": 6}) == [4, 6, 1]


@pytest.mark.parametrize("time_dim", [{"*": None, "act": 1}, {"act": 1, "*": None}])
def test_time_dim_is_read_alike(time_dim):
    x = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    recording = record(Net(), x, "act", time_dim=time_dim)
    assert recording.n_bins == 15
    assert recording.raster("act").shape == (8, 15)


@pytest.mark.parametrize("units", [{"*": 0, "fc": [1, 2]}, {"fc": [1, 2], "*": 0}])
def test_a_recording_is_parted_alike(units):
    raster = SpikeRaster.from_dense(np.eye(3))
    recording = Recording({"conv": raster, "fc": raster})
    assert {n: r.units.tolist() for n, r in recording.select(units=units).rasters.items()} == {
        "conv": [0],
        "fc": [1, 2],
    }
    assert recording.select(units={"f*": 1, "*": 0}).rasters["fc"].units.tolist() == [1]
    # what is asked of layers that are not chosen does not matter
    few = Recording({"conv": SpikeRaster.from_dense(np.ones((1, 3))), "fc": raster})
    assert few.select(layers="fc", units={"*": 2}).rasters["fc"].units.tolist() == [2]


@pytest.mark.parametrize("argument", ["units", "threshold", "time_dim"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({0: 1, "*": 1}, "{argument} has the key 0: give names or globs of layers, as text"),
        ({"*": 1, "typo": 1}, "{argument} has the key 'typo', but no recorded layer has that name"),
    ],
)
def test_keys_that_are_no_names(argument, given, message):
    with pytest.raises(ValueError, match=message.format(argument=argument)):
        record(Net(), X[:, None], **{argument: given})

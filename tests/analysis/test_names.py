"""What is not a recording by name is refused with what to give instead."""

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Recording, SpikeRaster, compare, load, plot, record, save


@pytest.fixture
def recording():
    return Recording({"relu": SpikeRaster.from_dense(np.random.default_rng(0).random((5, 200)) < 0.4)})


@pytest.mark.parametrize("function", [compare, plot.overview, plot.comparison])
def test_recordings_are_given_by_name(function, recording):
    for given, said in [
        ([recording], 'given by name, but this is a list: give {"one": recording, "other": ...}'),
        (recording, 'given by name, but this is a Recording: give {"one": recording'),
        ({"a": "a.nwb"}, r"'a' is a str: give a Recording or Summary, such as ann2neo.load\('a.nwb'\)"),
        ({"a": 3}, "'a' is a int: give a Recording or Summary$"),
    ]:
        with pytest.raises(TypeError, match=said):
            function(given)
    with pytest.raises(ValueError, match="no recording to compare: give one or more, by name"):
        function({})


def test_figures_take_what_they_can_draw(recording):
    summary = recording.summarize()
    with pytest.raises(
        TypeError, match=r"'a' is a Summary, which keeps no spikes to draw: .*plot.comparison"
    ):
        plot.overview({"a": summary})
    one, other = (plot.comparison({"a": each}) for each in (recording, summary))
    for axes, same in zip(one.axes, other.axes, strict=True):
        for points, theirs in zip(axes.collections, same.collections, strict=True):
            np.testing.assert_array_equal(points.get_offsets(), theirs.get_offsets())


def test_a_summary_is_no_recording(recording, tmp_path):
    summary = recording.summarize()
    with pytest.raises(TypeError, match=r"this is a Summary: a Summary is kept by summary.save\("):
        save(summary, tmp_path / "x.nwb")
    with pytest.raises(
        ValueError, match=r"s.npz is no recording: if it is a summary, .*Summary.load\(path\)"
    ):
        load(summary.save(tmp_path / "s.npz"))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.ReLU, r"the model is the class ReLU: make a model of it, ReLU\(...\)"),
        ("model.pt", "the model is 'model.pt', a str: load it first"),
        (torch.ones(3, 2), "the model is a Tensor: the model comes first and the stimuli second"),
        (
            {"weight": torch.ones(3)},
            r"a state_dict perhaps: make the model first, then model.load_state_dict",
        ),
        (3, "the model is a int: give a torch.nn.Module"),
    ],
)
def test_what_is_no_model(model, said):
    with pytest.raises(TypeError, match=said):
        record(model, torch.ones(3, 2))


def test_a_device_that_is_none():
    with pytest.raises(ValueError, match="device='gpu': torch has no such device: give cpu, cuda"):
        record(nn.ReLU(), torch.ones(3, 2), device="gpu")

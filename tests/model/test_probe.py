"""Recording live models: planted spikes, which layers and units, traces left, and what goes wrong."""

import re

import numpy as np
import pytest
import quantities as pq
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ann2neo
from ann2neo import Probe, Quantile, RecordingError, ZScore, record
from ann2neo.model.runs.evaluation import evaluation
from ann2neo.model.sinks.keeper import Keeper
from helpers.traces import n_watched


class Planted(nn.Module):
    """Three units: always on, never on, on where the stimulus is positive."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x):
        return self.relu(torch.stack([torch.ones(len(x)), -torch.ones(len(x)), x[:, 0]], dim=1))


class Reused(nn.Module):
    """One ReLU used twice, in place, around a bias that moves the first activation's sign."""

    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        return self.relu(self.relu(x) - 1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(144, 5),
        nn.Tanh(),
    )


IMAGES = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def test_planted_units_spike_when_they_should():
    x = torch.tensor([1.0, -1.0, 2.0, 0.0, -3.0, 4.0])[:, None]
    recording = record(Planted(), x, batch_size=4)
    expected = [[1] * 6, [0] * 6, [1, 0, 1, 0, 0, 1]]
    np.testing.assert_array_equal(recording.raster("relu"), np.array(expected, bool))


def test_an_in_place_module_used_twice_is_two_layers():
    recording = record(Reused(), torch.tensor([[0.5], [2.0], [-1.0]]))
    assert recording.layers == ["relu", "relu_1"]
    np.testing.assert_array_equal(recording.raster("relu"), [[True, True, False]])
    np.testing.assert_array_equal(recording.raster("relu_1"), [[False, True, False]])


def test_thresholding_runs_before_the_next_in_place_module(net):
    recording = record(net, IMAGES, layers="1")
    with torch.no_grad():
        plain = net.eval()[1](net[0](IMAGES))
    np.testing.assert_array_equal(recording.raster("1"), (plain > 0).flatten(1).T)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        (None, ["2", "5"]),
        ("*", ["0", "1", "2", "3", "4", "5"]),
        (["5", "0"], ["0", "5"]),
        ("[24]", ["2", "4"]),
        (nn.Linear, ["4"]),
        ([nn.Linear, "0"], ["0", "4"]),
    ],
)
def test_layers_by_name_glob_and_type(net, layers, expected):
    assert record(net, IMAGES, layers).layers == expected


def test_recorded_names_select_the_same_layers_again():
    x = torch.randn(3, 2)
    assert record(Reused(), x, layers=["relu_1"]).layers == ["relu_1"]
    assert record(Reused(), x, layers="relu").layers == ["relu", "relu_1"]


def test_a_model_that_is_one_module():
    assert record(nn.ReLU(), torch.ones(3, 2)).layers == ["ReLU"]


def test_units_sampled_given_and_all(net):
    everything = record(net, IMAGES)
    sampled = record(net, IMAGES, units=7, seed=3)
    again = record(net, IMAGES, "2", units=7, seed=3)
    assert sampled.units.groupby("layer").size().to_dict() == {"2": 7, "5": 5}
    np.testing.assert_array_equal(sampled.rasters["2"].units, again.rasters["2"].units)
    assert (
        sampled.rasters["2"].units.tolist()
        != record(net, IMAGES, units=7, seed=4).rasters["2"].units.tolist()
    )
    for layer, raster in sampled.rasters.items():
        np.testing.assert_array_equal(raster.dense(), everything.raster(layer)[raster.units])
    chosen = record(net, IMAGES, units={"2": [40, 3], "*": [0]})
    np.testing.assert_array_equal(chosen.raster("2"), everything.raster("2")[[3, 40]])
    assert chosen.rasters["5"].n_units == 1


def test_threshold_numbers_dicts_and_arrays(net):
    with torch.no_grad():
        last = net.eval()(IMAGES)
    per_unit = np.linspace(-0.2, 0.2, 5)
    for threshold in (0.1, {"5": 0.1, "*": 0}, {"*": np.full(5, 0.1)}, per_unit, torch.tensor(per_unit)):
        recording = record(net, IMAGES, "5", threshold=threshold)
        values = threshold.get("5", 0.1) if isinstance(threshold, dict) else threshold
        values = torch.as_tensor(values, dtype=torch.float32)
        np.testing.assert_array_equal(recording.raster("5"), (last > values).T)
        np.testing.assert_allclose(recording.units.threshold, np.broadcast_to(values, 5), atol=1e-7)


def test_calibrated_thresholds_are_frozen_and_stored(net):
    calibration, shown = IMAGES[:12], IMAGES[12:]
    with torch.no_grad():
        evoked = net.eval()(calibration).double().numpy()
        new = net(shown).numpy()
    for rule, expected in (
        (Quantile(0.75), np.quantile(evoked, 0.75, axis=0)),
        (ZScore(0.5), evoked.mean(0) + 0.5 * evoked.std(0)),
    ):
        recording = record(net, shown, "5", threshold=rule, calibration=calibration)
        np.testing.assert_allclose(recording.rasters["5"].threshold, expected, rtol=1e-6)
        np.testing.assert_array_equal(recording.raster("5"), (new > expected.astype(np.float32)).T)
        assert recording.annotations["threshold"] == repr(rule)
    frozen = ann2neo.calibrate(net, calibration, {"5": Quantile(0.75), "2": 0.5})
    with Probe(net.eval(), threshold=frozen) as probe, torch.no_grad():
        net(shown)
    both = probe.recording
    np.testing.assert_allclose(both.rasters["5"].threshold, np.quantile(evoked, 0.75, axis=0), rtol=1e-6)
    assert (both.rasters["2"].threshold == 0.5).all()


def test_stimuli_of_every_kind_give_the_same_recording(net):
    labels = torch.arange(20) % 3
    pairs = TensorDataset(IMAGES, labels)
    expected = record(net, IMAGES, labels=labels)
    assert expected.labels.tolist() == labels.tolist()
    kinds = [
        pairs,
        DataLoader(pairs, batch_size=7),
        [(IMAGES[:3], labels[:3]), (IMAGES[3:], labels[3:].tolist())],
        ((x, y) for x, y in DataLoader(pairs, batch_size=6)),
    ]
    for stimuli in kinds:
        recording = record(net, stimuli)
        assert recording.rasters == expected.rasters
        assert recording.stimuli == expected.stimuli
    for unlabelled in (IMAGES.numpy(), IMAGES.split(4), DataLoader(TensorDataset(IMAGES), batch_size=3)):
        recording = record(net, unlabelled)
        assert recording.rasters == expected.rasters
        assert recording.labels is None


def test_bin_size_trials_and_ids(net):
    recording = record(net, IMAGES, bin_size=20 * pq.us, n_trials=3, ids=range(50, 70))
    assert recording.bin_size.rescale("ms").item() == pytest.approx(0.02)
    assert recording.time.trial_bins == (7, 7, 6)
    assert recording.stimuli.ids.tolist() == list(range(50, 70))


@pytest.mark.parametrize("time_dim", [0, 1, -2])
def test_time_within_a_stimulus(time_dim):
    """An LSTM's steps are bins: stimulus 0 step 0, stimulus 0 step 1, …"""
    torch.manual_seed(0)
    lstm = nn.LSTM(2, 3, batch_first=time_dim != 0)
    x = torch.randn(4, 5, 2)
    shown = x if time_dim else x.transpose(0, 1)
    with torch.no_grad():
        output = lstm(shown)[0]
    output = output if time_dim else output.transpose(0, 1)
    recording = record(lstm, [shown], "LSTM", time_dim=time_dim, n_trials=2)
    np.testing.assert_array_equal(recording.raster("LSTM"), (output > 0).reshape(20, 3).T)
    assert recording.time.trial_bins == (10, 10)
    assert recording.stimuli.onsets.tolist() == [0, 5, 10, 15]


def test_resnet18_reused_relus_count_once_each():
    from torchvision.models import resnet18

    torch.manual_seed(0)
    recording = record(resnet18(), torch.randn(2, 3, 64, 64), units=20)
    assert len(recording.layers) == 17
    assert recording.layers[:3] == ["relu", "layer1.0.relu", "layer1.0.relu_1"]
    n_units = [int(np.prod(raster.shape)) for raster in recording.rasters.values()]
    sizes = {64: 32 * 32, 128: 8 * 8, 256: 4 * 4, 512: 2 * 2}
    assert n_units == [64 * 32 * 32] + [64 * 16 * 16] * 4 + [
        c * sizes[c] for c in (128, 256, 512) for _ in range(4)
    ]
    assert recording.n_bins == 2


def traces(model):
    return (
        [module.training for module in model.modules()],
        n_watched(model),
        torch.is_grad_enabled(),
        torch.get_rng_state().tolist(),
        {name: value.clone().tolist() for name, value in model.state_dict().items()},
    )


def test_recording_leaves_no_trace(net):
    net.train()
    net[1].eval()
    before, output = traces(net), net[4:](torch.ones(2, 144))
    shuffled = DataLoader(TensorDataset(IMAGES), batch_size=3, shuffle=True)
    record(net, shuffled)
    assert traces(net) == before
    assert torch.equal(net[4:](torch.ones(2, 144)), output)


def test_a_probe_leaves_no_trace_after_an_exception(net):
    before = traces(net)
    with pytest.raises(ZeroDivisionError), Probe(net.eval()) as probe:
        net(IMAGES[:4])
        raise ZeroDivisionError
    net.train()
    assert traces(net) == before
    assert probe.recording.n_bins == 4


def test_a_probe_changes_no_output_and_no_gradient(net):
    def step(model):
        model.zero_grad()
        loss = model(IMAGES).square().sum()
        loss.backward()
        return [loss.detach().clone(), *(p.grad.clone() for p in model.parameters())]

    plain = step(net)
    with Probe(net, layers="*") as probe:
        probed = step(net)
    for a, b in zip(plain, probed, strict=True):
        assert torch.equal(a, b)
    assert probe.recording.n_bins == 20


def test_a_probe_that_pushes_keeps_nothing_to_annotate(net):
    with Probe(net.eval(), into=[ann2neo.Summary(5)]) as probe:
        net(IMAGES)
    with pytest.raises(ValueError, match="pushes spikes into summaries and keeps none"):
        probe.annotate(labels=range(20))


def test_evaluation_restores_each_module(net):
    net.train()
    net[1].eval()  # frozen
    before = traces(net)
    with evaluation(net) as where:
        assert not any(module.training for module in net.modules())
        assert not torch.is_grad_enabled()
        assert where == torch.device("cpu")
        torch.rand(1)
    assert traces(net) == before
    with pytest.raises(ZeroDivisionError), evaluation(net):
        raise ZeroDivisionError
    assert traces(net) == before


def test_a_failed_forward_pass_is_not_recorded(net):
    with Probe(net.eval()) as probe:
        net(IMAGES[:4])
        with pytest.raises(RuntimeError, match="type"):
            net(IMAGES[4:8].double())  # fails in the first layer
        net[4].double()
        with pytest.raises(RuntimeError, match="type"):
            net(IMAGES[4:8])  # fails at the linear layer, after the ReLU fired
        probe.annotate(labels=[1, 1, 1, 1])
    assert probe.recording.n_bins == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "relu*"}, r"no layer \['relu\*'\] fired in a forward pass; the model has .*0 \(Conv2d\)"),
        ({"layers": nn.GELU}, "no layer is a .*GELU"),
        ({"layers": []}, r"layers=\[\]: give names"),
        ({"layers": 3}, "give names"),
        ({"units": [0, 200]}, "unit 200 is out of range: layer '2' has units 0 to 143"),
        ({"units": [-1]}, "unit -1 is out of range"),
        ({"units": 0}, "units=0: give at least one"),
        ({"units": {"2": 3}}, "units has nothing for layer '5'"),
        ({"threshold": [1.0, 2.0]}, r"threshold of shape \(2,\) for layer '2'"),
        ({"threshold": float("nan")}, "is NaN"),
        ({"threshold": "high"}, "give a number"),
        ({"threshold": {"2": 1}}, "threshold has nothing for layer '5'"),
        ({"threshold": Quantile(0.5)}, "give them as calibration="),
        ({"n_trials": 0}, "n_trials=0"),
        ({"n_trials": 2.0}, "n_trials=2.0: give a whole number"),
        ({"layers": set()}, "give names"),
        ({"units": {"2": 3, "*": 1, "typo": 2}}, "units has the key 'typo', but no recorded layer"),
        ({"threshold": {"*": 0, "typo": 2}}, "threshold has the key 'typo', but no recorded layer"),
        ({"threshold": None}, "threshold None for layer '2': give a number"),
        ({"annotations": {"x": object()}}, "annotation value"),
        ({"ids": np.arange(20.0)}, "ids are of type float64: give whole numbers"),
        ({"labels": np.zeros((20, 3))}, r"labels of shape \(20, 3\) for 20 stimuli"),
        ({"n_trials": 21}, "n_trials=21, but 20 stimuli"),
        ({"bin_size": -1}, "bin_size=-1"),
        ({"labels": [1, 2]}, "labels of shape"),
        ({"time_dim": 7}, "time_dim=7, but layer '2' gives an output of shape"),
        ({"batch_size": 0}, "batch_size=0"),
    ],
)
def test_arguments_out_of_range(net, arguments, message):
    with pytest.raises((ValueError, TypeError, RecordingError), match=message):
        record(net, IMAGES, **arguments)
    assert traces(net)[1] == 0


@pytest.mark.parametrize("stimuli", [[], torch.empty(0, 1, 8, 8), DataLoader(TensorDataset(IMAGES[:0]))])
def test_no_stimuli(net, stimuli):
    with pytest.raises(ValueError, match="there are no stimuli"):
        record(net, stimuli)


@pytest.mark.parametrize("stimuli", [3, "images", [["a"]], [{"x": "text"}], None, nn.ReLU()])
def test_stimuli_that_are_none(net, stimuli):
    with pytest.raises(TypeError, match="give"):
        record(net, stimuli)


def test_nan_names_layer_unit_and_stimulus():
    x = torch.zeros(6, 1)
    x[4] = float("nan")
    with pytest.raises(RecordingError, match=r"'relu' gives NaN for stimulus 4, unit 2") as stopped:
        record(Planted(), x, batch_size=2)
    assert stopped.value.recording.n_bins == 4
    assert stopped.value.recording.annotations["interrupted"] is True
    recording = record(Planted(), x, allow_nan=True)
    assert not recording.raster("relu")[2].any()
    assert recording.annotations["n_nan"] == 1


def test_stimuli_of_changing_shape_keep_what_was_recorded():
    fully_convolutional = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    batches = [IMAGES[:4], torch.randn(4, 1, 9, 9)]
    with pytest.raises(RecordingError, match=r"'1' gives an activation of shape \(2, 7, 7\)") as stopped:
        record(fully_convolutional, batches)
    assert stopped.value.recording.n_bins == 4


def test_an_error_while_loading_keeps_what_was_recorded(net):
    def loader():
        yield IMAGES[:4]
        raise OSError("disk gone")

    with pytest.raises(RecordingError, match=r"stopped after 4 stimuli.*disk gone") as stopped:
        record(net, loader())
    assert isinstance(stopped.value.__cause__, OSError)
    assert stopped.value.recording.n_bins == 4


def test_ctrl_c_returns_what_was_recorded(net):
    def loader():
        yield IMAGES[:4]
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted: returning the 4 stimuli"):
        recording = record(net, loader(), n_trials=10)
    assert recording.n_bins == 4
    assert recording.annotations["interrupted"] is True
    assert traces(net)[1] == 0


def test_a_hook_that_never_fires():
    class Bypassed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            return nn.functional.linear(x, self.linear.weight)

    with pytest.raises(ValueError, match=r"no layer \['linear'\] fired in a forward pass; .*Hooks see"):
        record(Bypassed(), torch.randn(4, 3), layers="linear")
    with pytest.raises(ValueError, match="no layer of an activation, module or function, fired"):
        record(Bypassed(), torch.randn(4, 3))


def test_a_module_without_call_among_others_is_named():
    class Branch(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.used(x)

    with pytest.warns(UserWarning, match=r"did not fire: \['unused'\]"):
        assert record(Branch(), torch.ones(2, 2)).layers == ["used"]
    with pytest.raises(ValueError, match=r"no layer \['unused'\] fired"):
        record(Branch(), torch.ones(2, 2), layers=["used", "unused"])


def test_layers_that_depend_on_the_input():
    class Switch(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.a(x) if x.sum() > 0 else self.b(self.a(x))

    ones = torch.ones(2, 2)
    with (
        pytest.warns(UserWarning, match="did not fire"),
        pytest.raises(RecordingError, match="'b' fires in this forward pass but not in the first"),
    ):
        record(Switch(), [ones, -ones])
    with pytest.raises(RecordingError, match="'b' fired in the first forward pass but not in this one"):
        record(Switch(), [-ones, ones])


def test_outputs_that_are_not_tensors():
    class Returns(nn.Module):
        def __init__(self, wrap):
            super().__init__()
            self.wrap = wrap

        def forward(self, x):
            return self.wrap(x)

    for wrap in (lambda x: (x, 1), lambda x: {"a": None, "b": x}, lambda x: [x]):
        assert record(Returns(wrap), torch.ones(2, 3), layers="Returns").n_units == 3
    for wrap, what in ((lambda x: "text", "str"), (lambda x: ([x],), "tuple"), (lambda x: None, "NoneType")):
        with pytest.raises(TypeError, match=f"'Returns' gives a {what} without a tensor"):
            record(Returns(wrap), torch.ones(2, 3), layers="Returns")
    with pytest.raises(TypeError, match="complex"):
        record(Returns(lambda x: x + 1j), torch.ones(2, 3), layers="Returns")


def test_labels_for_some_batches_only(net):
    with Probe(net.eval()) as probe:
        net(IMAGES[:2])
        with pytest.raises(ValueError, match=re.escape("labels of shape (3,) for 2 stimuli")):
            probe.annotate(labels=[1, 2, 3])
        probe.annotate(labels=[1, 2])
        net(IMAGES[2:5])
    with pytest.warns(UserWarning, match="only 1 of 2 batches were given labels: they are left out"):
        recording = probe.recording
    assert recording.n_bins == 5
    assert recording.labels is None


def test_a_probe_without_a_pass(net):
    with Probe(net) as probe:
        net[0](IMAGES)
    with pytest.raises(ValueError, match="nothing was recorded: no forward pass of Sequential"):
        _ = probe.recording
    with pytest.raises(ValueError, match="there is no stimulus to annotate"):
        probe.annotate(labels=[1])


@pytest.mark.parametrize(
    ("values", "threshold", "expected"),
    [
        (torch.tensor([0.30078125, 0.25], dtype=torch.bfloat16), 0.3, [True, False]),
        (torch.tensor([True, False]), 0.5, [True, False]),
        (torch.tensor([0, -1]), -0.5, [True, False]),
        (torch.tensor([0.7 + 1e-12, 0.7], dtype=torch.float64), 0.7, [True, False]),
    ],
)
def test_thresholds_are_not_rounded_to_coarse_types(values, threshold, expected):
    recording = record(nn.Identity(), values[:, None], "Identity", threshold=threshold)
    np.testing.assert_array_equal(recording.raster("Identity"), [expected])


def test_the_highest_quantile_is_never_exceeded():
    x = torch.randn(11, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert record(nn.ReLU(), x, threshold=Quantile(1.0), calibration=x).n_spikes == 0


def test_nan_in_calibration_is_named_or_left_out():
    x = torch.arange(5.0)[:, None].clone()
    x[3] = float("nan")
    with pytest.raises(ValueError, match="'ReLU' gives NaN for stimulus 3, unit 0"):
        ann2neo.calibrate(nn.ReLU(), x, Quantile(1.0))
    assert ann2neo.calibrate(nn.ReLU(), x, Quantile(1.0), allow_nan=True)["ReLU"] == [4.0]


def test_nan_within_a_stimulus_names_the_step():
    x = torch.zeros(4, 5, 2)
    x[2, 3, 1] = float("nan")
    with pytest.raises(ValueError, match="NaN for stimulus 2, step 3, unit 1"):
        record(nn.ReLU(), x, time_dim=1)


def test_a_first_pass_that_failed_leaves_nothing(net):
    fully_convolutional = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    with Probe(fully_convolutional.eval(), threshold={"1": np.zeros(72)}) as probe:
        with pytest.raises((RuntimeError, ValueError)):
            fully_convolutional(torch.randn(2, 1, 9, 9))
        fully_convolutional(IMAGES)
    assert probe.recording.n_bins == 20


def test_the_second_firing_is_not_called_like_another_module():
    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu, self.relu_1 = nn.ReLU(), nn.ReLU()

        def forward(self, x):
            return self.relu_1(self.relu(self.relu(x) - 1))

    x = torch.randn(4, 2)
    assert record(Named(), x).layers == ["relu", "relu_2", "relu_1"]
    assert record(Named(), x, layers="relu").layers == ["relu", "relu_2"]
    assert record(Named(), x, layers="relu_1").layers == ["relu_1"]


def test_a_module_with_two_names_answers_to_both():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = self.b = nn.ReLU()

        def forward(self, x):
            return self.b(self.a(x))

    assert record(Shared(), torch.randn(4, 2), layers=["a", "b"]).layers == ["a", "a_1"]
    assert record(Shared(), torch.randn(4, 2), layers="b").layers == ["a", "a_1"]


def test_layers_from_a_generator_and_a_rule(net):
    recording = record(net, IMAGES, (n for n in ["2", "5"]), threshold=Quantile(0.5), calibration=IMAGES)
    assert recording.layers == ["2", "5"]


def test_a_probe_is_on_once(net):
    with Probe(net) as probe, pytest.raises(RuntimeError, match="already on"):
        probe.__enter__()


def test_two_probes_at_once(net):
    with Probe(net.eval()) as one, Probe(net, "5", threshold=0.5) as other:
        net(IMAGES)
    assert one.recording.rasters == record(net, IMAGES).rasters
    assert other.recording.rasters == record(net, IMAGES, "5", threshold=0.5).rasters


@pytest.mark.parametrize("fold", [lambda x: x.flatten(0, 1), lambda x: x.mean(0, keepdim=True)])
def test_layers_that_see_another_number_of_stimuli(fold):
    class Folds(nn.Module):
        def __init__(self):
            super().__init__()
            self.relu = nn.ReLU()

        def forward(self, x):
            return self.relu(fold(x))

    x = torch.randn(10, 6)
    with pytest.raises(ValueError, match="activations for a batch of 10 stimuli") as error:
        record(Folds(), x)
    assert not isinstance(error.value, RecordingError)  # no wrong bins were kept
    with pytest.raises(ValueError, match="activations for a batch of 10 stimuli"):
        ann2neo.calibrate(Folds(), x, Quantile(0.5))


def test_a_recurrent_layer_with_steps_first_asks_for_time_dim():
    with pytest.raises(ValueError, match=r"'LSTM' is a LSTM with batch_first=False.*give time_dim=0"):
        record(nn.LSTM(4, 5), torch.randn(6, 7, 4), layers="LSTM")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_numpy_floats_take_the_precision_of_the_model(net, dtype):
    assert record(net, IMAGES.numpy().astype(dtype)).n_bins == 20
    assert record(net.double(), IMAGES.numpy().astype(dtype)).n_bins == 20


def test_ctrl_c_between_a_pass_and_its_labels(net, monkeypatch):
    original, calls = Keeper.annotate, []

    def annotate(self, about):
        calls.append(about)
        if len(calls) == 2:
            raise KeyboardInterrupt
        original(self, about)

    monkeypatch.setattr(Keeper, "annotate", annotate)
    with pytest.warns(UserWarning, match=r"interrupted|left out") as warned:
        recording = record(net, IMAGES, labels=np.arange(20), batch_size=10)
    assert recording.n_bins == 20
    assert recording.labels is None
    assert len(warned) == 2


def test_a_bad_label_keeps_what_was_recorded(net):
    batches = [(IMAGES[:4], torch.zeros(4)), (IMAGES[4:8], torch.zeros(3))]
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(RecordingError, match="labels of shape") as stopped,
    ):
        record(net, batches)
    assert stopped.value.recording.n_bins == 8


def test_too_few_labels_for_a_loader(net):
    loader = DataLoader(TensorDataset(IMAGES), batch_size=10)
    with (
        pytest.warns(UserWarning, match="left out"),
        pytest.raises(RecordingError, match="labels of shape") as stopped,
    ):
        record(net, loader, labels=np.arange(15))
    assert stopped.value.recording.n_bins == 20


def test_fewer_stimuli_than_trials_in_a_probe(net):
    with Probe(net.eval(), n_trials=5) as probe:
        net(IMAGES[:3])
    with pytest.raises(RecordingError, match="n_trials=5, but 3 stimuli were recorded") as stopped:
        _ = probe.recording
    assert stopped.value.recording.n_bins == 3


def test_a_pair_is_no_list_of_batches(net):
    with pytest.raises(TypeError, match="stimuli is a pair"):
        record(net, (IMAGES, torch.zeros(20)))


class Detector(nn.Module):
    """Takes a list of images, as torchvision's detection models do."""

    def __init__(self):
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 4, 3), nn.ReLU()

    def forward(self, images):
        return self.relu(self.conv(torch.stack(images)))


def test_a_list_of_images_is_as_many_stimuli():
    model, images = Detector(), list(torch.randn(2, 3, 6, 6))
    with Probe(model) as probe:
        expected = model(images)
    assert (probe.recording.raster("relu") == (expected > 0).flatten(1).numpy().T).all()

"""Stimuli whose first dimension is the steps: batches are cut along the stimuli."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ann2neo import Monitor, Probe, Quantile, calibrate, record, summarize

STEPS, STIMULI = 40, 6
X = torch.randn(STEPS, STIMULI, 4, generator=torch.Generator().manual_seed(0)).cumsum(0) * 0.2


def lstm():
    torch.manual_seed(0)
    return nn.LSTM(4, 5)


def spikes():
    """Units by the bins of all stimuli, of one pass of all."""
    with torch.no_grad():
        out = lstm()(X)[0]
    return (out > 0).transpose(0, 1).flatten(0, 1).T.numpy()


class Turned(nn.Module):
    """Takes stimuli first, and turns them round for its recurrent layer."""

    def __init__(self):
        super().__init__()
        self.rnn = lstm()

    def forward(self, x):
        return self.rnn(x.transpose(0, 1))[0]


class Placed(nn.Module):
    """Needs all steps, since it adds something to each."""

    def __init__(self):
        super().__init__()
        self.rnn, self.places = lstm(), nn.Parameter(torch.zeros(STEPS, 1, 4))

    def forward(self, x):
        return self.rnn(x + self.places)[0]


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6, 128])
@pytest.mark.parametrize("as_numpy", [False, True])
def test_batches_are_cut_along_the_stimuli(batch_size, as_numpy):
    labels = np.arange(STIMULI)
    how = {"time_dim": 0, "batch_size": batch_size, "n_trials": 2}
    x = X.numpy() if as_numpy else X
    recording = record(lstm(), x, "LSTM", **how, labels=labels)
    np.testing.assert_array_equal(recording.raster("LSTM"), spikes())
    np.testing.assert_array_equal(recording.stimuli.onsets, STEPS * labels)
    np.testing.assert_array_equal(recording.stimuli.labels, labels)
    summary = summarize(lstm(), x, "LSTM", **how, window=10)
    assert summary.units.equals(recording.summarize(10).units)


@pytest.mark.parametrize("kind", [Turned, Placed])
def test_a_model_shows_where_its_stimuli_are(kind):
    x = X.transpose(0, 1) if kind is Turned else X
    recording = record(kind(), x, "rnn", time_dim=0, batch_size=2)
    np.testing.assert_array_equal(recording.raster("rnn"), spikes())


def test_arrays_by_name_are_cut_along_their_own_stimuli():
    class Scaled(Placed):
        def forward(self, x, scale):
            return self.rnn(x * scale[:, None])[0]

    by_name = {"x": X, "scale": torch.ones(STIMULI), "labels": torch.arange(STIMULI)}
    recording = record(Scaled(), by_name, "rnn", time_dim=0, batch_size=4)
    np.testing.assert_array_equal(recording.raster("rnn"), spikes())
    np.testing.assert_array_equal(recording.stimuli.labels, np.arange(STIMULI))


def test_lengths_are_one_a_stimulus():
    lengths = np.array([40, 3, 20, 1, 7, 33])
    recording = record(lstm(), X, "LSTM", time_dim=0, lengths=lengths, batch_size=4)
    shown = (np.arange(STEPS) < lengths[:, None]).ravel()
    np.testing.assert_array_equal(recording.raster("LSTM"), spikes()[:, shown])


def test_calibration_and_monitor_cut_along_the_stimuli():
    few, all_at_once = (
        calibrate(lstm(), X, Quantile(0.9), "LSTM", time_dim=0, batch_size=n)["LSTM"] for n in (4, STIMULI)
    )
    np.testing.assert_allclose(few, all_at_once, atol=1e-6)
    summary = Monitor("LSTM", time_dim=0, batch_size=4).observe(lstm(), X)
    np.testing.assert_array_equal(summary.units.n_spikes, spikes().sum(1))


def test_labels_of_steps_are_refused():
    with pytest.raises(ValueError, match=r"\(40,\)|40|6 stimuli"):
        record(lstm(), X, "LSTM", time_dim=0, labels=np.arange(STEPS))


def test_the_trial_run_leaves_no_state():
    states = []

    class Neuron(nn.Module):
        state = None

        def forward(self, x):
            self.state = x.sum(0) if self.state is None else self.state + x.sum(0)
            states.append(self.state)
            return x

    neuron = Neuron()
    record(neuron, X, "Neuron", time_dim=0)
    torch.testing.assert_close(states[-1], X.sum(0))
    assert neuron.state is None  # nor does the recording


@pytest.mark.parametrize("loaded", [False, True])
def test_a_data_set_stacks_stimuli_so_its_steps_are_not_first(loaded):
    stimuli = TensorDataset(X.transpose(0, 1))
    with pytest.raises(ValueError, match="gave 40 activations for a batch of 6 stimuli"):
        record(lstm(), DataLoader(stimuli, 6) if loaded else stimuli, "LSTM", time_dim=0)


def test_batches_of_your_own_may_have_their_steps_first():
    parts = [X[:, :2], X[:, 2:]]
    recording = record(lstm(), parts, "LSTM", time_dim=0, labels=np.arange(STIMULI))
    np.testing.assert_array_equal(recording.raster("LSTM"), spikes())


def test_a_probe_refuses_what_is_no_batch():
    model = nn.Sequential(nn.Conv1d(3, 4, 3), nn.ReLU())
    with (
        Probe(model) as probe,
        pytest.raises(ValueError, match=r"'0', a Conv1d, .*shape \(3, 9\).*x\[None\]"),
    ):
        model(torch.randn(3, 9))
    assert probe.n_stimuli == 0

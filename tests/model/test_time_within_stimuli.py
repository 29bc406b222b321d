"""Stimuli that take time: recurrent networks, padding, packed sequences, calls, video."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from ann2neo import Probe, Quantile, RecordingError, Summary, SummaryError, record, summarize

LENGTHS = torch.tensor([3, 6, 1, 5, 2])
SEQUENCES = torch.randn(5, 6, 4, generator=torch.Generator().manual_seed(0))


class Reader(nn.Module):
    """A recurrent layer and a linear one upon it, in any of the layouts people use."""

    def __init__(self, kind, batch_first=True, packs=False):
        super().__init__()
        torch.manual_seed(0)
        self.rnn = kind(4, 7, batch_first=batch_first)
        self.head = nn.Linear(7, 2)
        self.packs = packs

    def forward(self, x):
        if self.packs:
            x = pack_padded_sequence(x, LENGTHS, batch_first=self.rnn.batch_first, enforce_sorted=False)
        out = self.rnn(x)[0]
        return out if isinstance(out, PackedSequence) else self.head(out)


def stepwise(kind, lengths):
    """Show each stimulus alone, cut to its length: units by the bins of all."""
    rnn = Reader(kind).rnn
    with torch.no_grad():
        alone = [rnn(x[None, :n])[0][0] for x, n in zip(SEQUENCES, lengths, strict=True)]
    return (torch.cat(alone) > 0).T.numpy()


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_each_step_is_a_bin(kind, batch_first):
    x = SEQUENCES if batch_first else [SEQUENCES.transpose(0, 1)]
    recording = record(Reader(kind, batch_first), x, "rnn", time_dim=1 if batch_first else 0)
    np.testing.assert_array_equal(recording.raster("rnn"), stepwise(kind, [6] * 5))
    np.testing.assert_array_equal(recording.stimuli.onsets, 6 * np.arange(5))


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("batch_first", [True, False])
def test_packed_sequences_take_their_lengths(kind, batch_first):
    x = SEQUENCES if batch_first else SEQUENCES.transpose(0, 1)
    recording = record(Reader(kind, batch_first, packs=True), [x], "rnn", time_dim=0)
    np.testing.assert_array_equal(recording.raster("rnn"), stepwise(kind, LENGTHS))
    np.testing.assert_array_equal(recording.stimuli.onsets, [0, 3, 9, 10, 15])


def test_packed_sequences_as_stimuli():
    packed = pack_padded_sequence(SEQUENCES, LENGTHS, batch_first=True, enforce_sorted=False)
    labels = torch.arange(5)
    recording = record(Reader(nn.GRU).rnn, [(packed, labels)], nn.GRU)
    np.testing.assert_array_equal(recording.raster("GRU"), stepwise(nn.GRU, LENGTHS))
    np.testing.assert_array_equal(recording.labels, np.repeat(np.arange(5), LENGTHS))


@pytest.mark.parametrize("batch_size", [2, 5])
def test_padded_steps_are_no_bins(batch_size):
    model = Reader(nn.GRU)
    given = {"layers": ["rnn", "head"], "time_dim": 1, "lengths": LENGTHS, "batch_size": batch_size}
    recording = record(model, SEQUENCES, **given, n_trials=2, labels=np.arange(5))
    np.testing.assert_array_equal(recording.raster("rnn"), stepwise(nn.GRU, LENGTHS))
    np.testing.assert_array_equal(recording.labels, np.repeat(np.arange(5), LENGTHS))
    assert recording.time.trial_bins == (10, 7)
    streamed = summarize(model, SEQUENCES, **given, n_trials=2, window=3)
    assert streamed.units.equals(recording.summarize(3).units)


def test_a_mask_with_gaps_in_a_loop():
    model = Reader(nn.RNN)
    mask = torch.tensor([[0, 1, 1, 0, 1, 0]] * 5).bool()
    summary = Summary(3)
    with (
        torch.no_grad(),
        Probe(model, "rnn", time_dim=1) as probe,
        Probe(model, "rnn", time_dim=1, into=[summary]) as into,
    ):
        probe.announce(mask=mask)
        into.announce(mask=mask)
        model(SEQUENCES)
        model(SEQUENCES)  # it holds for one pass
    whole = stepwise(nn.RNN, [6] * 5)
    expected = [whole[:, np.tile(mask[0], 5)], whole]
    np.testing.assert_array_equal(probe.recording.raster("rnn"), np.concatenate(expected, axis=1))
    assert summary.units.equals(probe.recording.summarize(3).units)


def test_an_attention_mask_among_arguments_by_name():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, inputs, attention_mask):
            return {"hidden": self.act(inputs * attention_mask[..., None])}

    mask = (torch.arange(6) >= 6 - LENGTHS[:, None]).long()  # padded on the left
    tokens = {"inputs": SEQUENCES, "attention_mask": mask, "labels": torch.arange(5)}
    recording = record(Masked(), tokens, time_dim=1, batch_size=2)
    expected = np.concatenate([(x[6 - n :] > 0).T for x, n in zip(SEQUENCES, LENGTHS, strict=True)], axis=1)
    np.testing.assert_array_equal(recording.raster("act"), expected)
    np.testing.assert_array_equal(recording.labels, np.repeat(np.arange(5), LENGTHS))
    with pytest.warns(UserWarning, match="marks some steps as padding, but their activations count"):
        assert record(Masked(), tokens).rasters["act"].shape == (6, 4)  # steps as units
    rule = record(Masked(), tokens, threshold=Quantile(0.5), calibration=tokens, time_dim=1)
    expected = np.median(
        np.concatenate([x[6 - n :] for x, n in zip(SEQUENCES, LENGTHS, strict=True)]), axis=0
    )
    np.testing.assert_allclose(rule.rasters["act"].threshold, np.maximum(expected, 0), atol=1e-6)


def test_calls_of_a_module_are_steps():
    class Unrolled(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.act = nn.GRUCell(4, 7), nn.ReLU(inplace=True)

        def forward(self, x):
            state = torch.zeros(len(x), 7)
            for t in range(x.shape[1]):
                state = self.cell(x[:, t], state)
                torch.relu(state - 0.1)
                self.act(state * 1).add_(1)  # what came before is not touched
            return state

    model = Unrolled()
    recording = record(model, SEQUENCES, ["cell", "act", "relu"], time_dim="calls", batch_size=2)
    assert recording.layers == ["cell", "relu", "act"]
    with torch.no_grad():
        state, states = torch.zeros(5, 7), []
        for t in range(6):
            states.append(state := model.cell(SEQUENCES[:, t], state))
    states = torch.stack(states, 1).flatten(0, 1).T
    np.testing.assert_array_equal(recording.raster("cell"), states > 0)
    np.testing.assert_array_equal(recording.raster("act"), states > 0)
    np.testing.assert_array_equal(recording.raster("relu"), states > 0.1)
    by_layer = record(model, SEQUENCES, ["cell", "act"], time_dim={"*": "calls"})
    np.testing.assert_array_equal(by_layer.raster("cell"), recording.raster("cell"))


def test_video():
    clips = torch.randn(2, 3, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    model = nn.Sequential(nn.Conv3d(3, 4, 3, padding=1), nn.ReLU())
    recording = record(model, clips, time_dim=2)
    with torch.no_grad():
        frames = model(clips).movedim(2, 1).reshape(12, -1)
    np.testing.assert_array_equal(recording.raster("1"), (frames > 0).T)
    assert recording.rasters["1"].shape == (4, 16, 16)
    assert recording.units.channel.max() == 3


def test_stimuli_of_other_lengths_in_each_batch():
    model = Reader(nn.GRU)
    parts = [SEQUENCES[:2, :4], SEQUENCES[2:, :6]]
    recording = record(model, parts, "rnn", time_dim=1)
    np.testing.assert_array_equal(recording.stimuli.onsets, [0, 4, 8, 14, 20])
    np.testing.assert_array_equal(recording.raster("rnn"), stepwise(nn.GRU, [4, 4, 6, 6, 6]))
    assert summarize(model, parts, "rnn", time_dim=1, window=5).units.equals(recording.summarize(5).units)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"time_dim": 3}, r"time_dim=3, but layer 'rnn' gives an output of shape \(5, 6, 7\)"),
        ({"time_dim": "steps"}, "time_dim='steps': give the number of a dimension"),
        ({"time_dim": True}, "time_dim=True: give the number"),
        ({"time_dim": {"typo": 1, "*": 1}}, "time_dim has the key 'typo', but no recorded layer"),
        ({"time_dim": 1, "lengths": [7, 1, 1, 1, 1]}, "stimulus 0 of the batch has a length of 7.*6 steps"),
        ({"time_dim": 1, "lengths": [1, 1, 0, 1, 1]}, "stimulus 2 of the batch has no step"),
        ({"time_dim": 1, "lengths": [1, 1]}, "2 lengths for 5 stimuli"),
        (
            {"lengths": [1] * 5},
            "no time_dim=: give the dimension of the layers' outputs that holds the steps",
        ),
        (
            {"layers": ["rnn", "head"], "time_dim": {"rnn": 1}},
            "layer 'head' gives 5 stimuli of 1 steps, .* another layer gave 5 stimuli of 6 steps in the same",
        ),
    ],
)
def test_steps_that_do_not_fit(given, message):
    with pytest.raises(ValueError, match=message):
        record(Reader(nn.GRU), SEQUENCES, **{"layers": "rnn", **given})


def test_more_lengths_than_stimuli_keep_what_was_recorded():
    with pytest.raises(RecordingError, match="6 lengths for 5 stimuli") as e:
        record(Reader(nn.GRU), SEQUENCES, "rnn", time_dim=1, lengths=[2] * 6)
    assert e.value.recording.n_bins == 10


def test_trials_of_unknown_length_cannot_be_planned():
    parts = [SEQUENCES[:2, :4], SEQUENCES[2:, :6]]
    message = "stopped after 8 bins.*2 trials of stimuli that take different numbers of steps: give lengths="
    with pytest.raises(SummaryError, match=message):
        summarize(Reader(nn.GRU), parts, "rnn", time_dim=1, n_trials=2, n_stimuli=5)


def test_nan_in_steps_of_different_lengths_names_the_step():
    spoiled = SEQUENCES.clone()
    spoiled[1, 4] = torch.nan
    with pytest.raises(ValueError, match="NaN for stimulus 1, step 4"):
        record(nn.ReLU(), spoiled, time_dim=1, lengths=LENGTHS)
    with pytest.raises(ValueError, match="NaN for bin 7"):
        summarize(nn.ReLU(), spoiled, time_dim=1, lengths=LENGTHS)


@pytest.mark.parametrize("lengths", [[5, 5, 3, 3, 2, 4], [6, 6, 6, 6, 1, 2], [2] * 6])
def test_trials_of_stimuli_that_begin_alike(lengths):
    """The first batch does not tell how many bins a trial has; lengths do."""
    x, model = torch.randn(6, 6, 3), nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    how = {"time_dim": 1, "lengths": lengths, "n_trials": 3, "batch_size": 2}
    summary = summarize(model, x, window=2, **how)
    assert summary.trial_bins == tuple(sum(lengths[i : i + 2]) for i in (0, 2, 4))
    assert summary.units.equals(record(model, x, **how).summarize(2).units)


def test_a_run_over_steps_is_continued(tmp_path):
    x, model = torch.randn(6, 5, 3), nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    spoiled = x.clone()
    spoiled[4] = torch.nan
    how = {"time_dim": 1, "lengths": [5, 5, 3, 1, 5, 2], "batch_size": 2, "window": 3}
    with pytest.raises(SummaryError, match="stopped after 14 bins"):
        summarize(model, spoiled, checkpoint=tmp_path / "run.npz", **how)
    continued = summarize(model, x, checkpoint=tmp_path / "run.npz", **how)
    assert continued.units.equals(summarize(model, x, **how).units)

"""summarize(): a live model, streamed; checkpoints, parts, and what goes wrong on the way."""

import logging
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ann2neo
from ann2neo import Probe, Quantile, Summary, SummaryError, merge, record, summarize
from ann2neo.model.sinks import checkpoint
from helpers.sums import assert_same_sums
from helpers.traces import n_watched


@pytest.fixture
def model():
    torch.manual_seed(0)
    conv = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 20), nn.ReLU())
    return conv.eval()


@pytest.fixture
def images():
    return torch.randn(230, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"n_trials": 7},
        {"layers": ["1", "3"], "units": 5, "threshold": {"1": 0.1, "*": 0.2}},
        {"units": {"1": [3, 100], "*": "all"}, "bin_size": 0.3, "batch_size": 33},
    ],
)
def test_the_same_numbers_as_recorded(model, images, arguments):
    recorded = record(model, images, **arguments).summarize(20)
    streamed = summarize(model, images, window=20, isi_histogram=True, **arguments)
    assert streamed.units.equals(recorded.units)
    assert streamed.layers.equals(recorded.layers)
    assert streamed.time == recorded.time
    assert streamed.fit_poisson().units.equals(recorded.fit_poisson().units)


def test_thresholds_by_rule(model, images):
    given = {"threshold": Quantile(0.8), "calibration": images[:100]}
    streamed = summarize(model, images[100:], window=10, **given)
    assert streamed.units.equals(record(model, images[100:], **given).summarize(10).units)
    assert streamed.units.activation_probability.mean() == pytest.approx(0.2, abs=0.05)


def test_time_within_a_stimulus():
    torch.manual_seed(0)
    lstm = nn.LSTM(4, 6, batch_first=True)
    sequences = torch.randn(50, 9, 4)
    given = {"layers": nn.LSTM, "time_dim": 1, "n_trials": 5, "batch_size": 16}
    streamed = summarize(lstm, sequences, window=30, **given)
    assert streamed.units.equals(record(lstm, sequences, **given).summarize(30).units)
    assert streamed.time.trial_bins == (90,) * 5


def test_default_window(model, images):
    """It leaves 50 windows where the number of stimuli is known, and is 100 where it is not."""
    assert summarize(model, images).window == record(model, images).summarize().window == 4
    assert summarize(model, images, n_trials=5).window == 4
    assert summarize(model, DataLoader(TensorDataset(images), 50)).window == 4
    assert summarize(model, images.split(50)).window == 100
    assert summarize(model, images[:100], n_stimuli=230).window == 4
    assert summarize(model, images[100:], start=100).window == 100


def test_parts_take_the_window_of_the_whole(model, images):
    cuts = [summarize(model, images[a : a + 115], start=a, n_stimuli=230) for a in (0, 115)]
    assert cuts[0].merge(cuts[1]).units.equals(summarize(model, images, batch_size=115).units)
    alone = [summarize(model, images[a : a + 115], start=a) for a in (0, 115)]
    with pytest.raises(ValueError, match="window=2, the other 100: give the same window= to all parts"):
        alone[0].merge(alone[1])


def test_a_checkpoint_goes_on_with_its_window(model, images, tmp_path):
    path = tmp_path / "run.npz"
    summarize(model, images, window=7, checkpoint=path)
    assert summarize(model, images, checkpoint=path).window == 7


def test_the_model_is_left_as_it_was(model, images):
    model.train()
    state = torch.get_rng_state()
    summarize(model, images)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert n_watched(model) == 0


def test_channels_last_network(model, images):
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()).double()
    x = torch.randn(60, 3, 12, 12).double()
    wanted = summarize(deep, x, window=10)
    last = deep.to(memory_format=torch.channels_last)
    found = summarize(last, x.to(memory_format=torch.channels_last), window=10)
    assert found._network.layers["1"]._order.dims == (1, 2, 0)  # y, x, channel: not copied
    assert found.units.equals(wanted.units)


def test_parts_of_a_presentation_merge_to_the_whole(model, images):
    given = {"window": 20, "n_trials": 3, "batch_size": 32, "n_stimuli": 230}
    parts = [summarize(model, images[a : a + 96], start=a, **given) for a in (0, 96, 192)]
    assert_same_sums(merge(parts), summarize(model, images, **given))


def test_several_summaries_in_one_probe(model, images):
    short, long = Summary(5), Summary(50, trial_bins=115)
    with torch.no_grad(), Probe(model, into=[short, long]) as probe:
        for batch in images.split(23):
            model(batch)
    assert probe.n_stimuli == 230
    recording = record(model, images, batch_size=23, n_trials=2)
    assert long.units.equals(recording.summarize(50).units)
    assert short.n_bins == long.n_bins == 230
    with pytest.raises(ValueError, match="keeps none"):
        _ = probe.recording


def test_a_pass_that_fails_is_not_counted(model, images):
    class Fragile(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.broken = nn.ReLU(), nn.ReLU(), True

        def forward(self, x):
            x = self.first(x)
            if self.broken:
                raise RuntimeError("broken")
            return self.second(x - 0.5)

    fragile, x = Fragile(), torch.rand(40, 6)
    summary = Summary(5)
    with Probe(fragile, into=[summary]):
        for i, batch in enumerate(x.split(10)):
            for broken in (True, False) if i % 2 == 0 else (False,):
                fragile.broken = broken
                try:
                    fragile(batch)
                except RuntimeError:
                    assert broken
    fragile.broken = False
    assert_same_sums(summary, summarize(fragile, x, window=5))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_in_any_grad_mode(model, images, mode):
    summary = Summary(20)
    with mode(), Probe(model, into=[summary]):
        for batch in images.split(100):
            model(batch)
    assert_same_sums(summary, summarize(model, images, window=20, batch_size=100))
    summary.update({"1": torch.ones(5, 3, 6, 6), "4": torch.ones(5, 20)})
    assert summary.n_bins == 235


# -- checkpoints ---------------------------------------------------------------------------------------


def test_a_run_that_was_killed_goes_on(tmp_path):
    """Kill -9 in the middle; the second run shows only what is missing, to the same numbers."""
    script = textwrap.dedent(
        """
        import os, sys, torch, ann2neo
        from torch import nn
        from ann2neo.model.sinks import checkpoint as checkpoints
        checkpoints.SECONDS_BETWEEN_CHECKPOINTS = 0.0
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 30), nn.ReLU())
        shown = []
        def count(module, args):
            shown.append(len(args[0]))
            if sys.argv[1] == "die" and len(shown) == 7:
                os.kill(os.getpid(), 9)
        model[0].register_forward_pre_hook(count)
        x = torch.randn(1000, 4, generator=torch.Generator().manual_seed(1))
        checkpoint = None if sys.argv[1] == "whole" else "run.npz"
        summary = ann2neo.summarize(model, x, window=9, n_trials=3, batch_size=100, checkpoint=checkpoint)
        summary.save(sys.argv[1] + ".npz")
        print(len(shown))
        """
    )

    def run(what):
        return subprocess.run(
            [sys.executable, "-c", script, what], cwd=tmp_path, capture_output=True, text=True
        )

    assert run("die").returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == ["run.npz"]
    resumed = run("resumed")
    assert resumed.stdout.strip() == "4", resumed.stderr
    assert run("whole").stdout.strip() == "10"
    whole, parts = (Summary.load(tmp_path / f"{name}.npz") for name in ("whole", "resumed"))
    assert_same_sums(whole, parts)
    assert whole.units.equals(parts.units)
    assert run("resumed").stdout.strip() == "0"  # all is done


def test_checkpoints_of_other_runs_are_refused(model, images, tmp_path):
    path = tmp_path / "run.npz"
    given = {"window": 20, "batch_size": 50}
    summarize(model, images[:100], checkpoint=path, **given)
    for changed, message in [
        ({"window": 30}, "window was 20, now it is 30"),
        ({"batch_size": 25}, "batch_size was 50, now it is 25"),
        ({"n_trials": 2}, "trial_bins was None"),
        ({"isi_histogram": True}, "isi_histogram was False"),
        ({"threshold": 0.5}, "another threshold"),
    ]:
        with pytest.raises((ValueError, SummaryError), match=message):
            summarize(model, images, checkpoint=path, **{**given, **changed})
    torch.nn.init.ones_(model[3].weight)
    with pytest.raises(ValueError, match="parameters_sha256"):
        summarize(model, images, checkpoint=path, **given)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ValueError, match=r"run\.npz is damaged"):
        summarize(model, images, checkpoint=path, **given)


def test_a_checkpoint_that_cannot_be_written_costs_no_summary(model, images, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with (
        pytest.warns(UserWarning, match=r"run\.npz could not be written: no space left"),
        pytest.raises(SummaryError, match=r"stopped after 230 bins.*\.summary: no space left") as stopped,
    ):
        summarize(model, images, window=20, checkpoint=tmp_path / "run.npz")
    assert_same_sums(stopped.value.summary, summarize(model, images, window=20))


def test_a_checkpoint_is_continued_on_another_day(model, images, tmp_path):
    path, given = tmp_path / "run.npz", {"window": 20, "batch_size": 50}
    began = summarize(model, images[:100], checkpoint=path, **given)
    began.annotations |= {"recorded_at": "2020-01-01T00:00:00+00:00", "torch_version": "2.0"}
    began.save(path)
    assert_same_sums(summarize(model, images, checkpoint=path, **given), summarize(model, images, **given))


def test_it_says_where_it_came_from(model, images):
    streamed, recorded = summarize(model, images, threshold=0.1, seed=3), record(model, images, seed=3)
    assert streamed.annotations.keys() == recorded.annotations.keys() - {"parameters_sha256"}
    told = [streamed.annotations[name] for name in ("model", "threshold", "seed")]
    assert told == ["Sequential", 0.1, 3]


# -- what goes wrong -----------------------------------------------------------------------------------


def test_nan_after_the_first_batch_keeps_what_was_added(model, images):
    images[150, 0, 0, 0] = float("nan")
    told = r"stopped after 128 bins.*layer '1' gives NaN for stimulus 150"
    with pytest.raises(SummaryError, match=told) as e:
        summarize(model, images, window=20)
    assert_same_sums(e.value.summary, summarize(model, images[:128], window=20))
    assert e.value.summary.annotations["interrupted"]
    assert summarize(model, images, window=20, allow_nan=True).n_nan > 0


def test_interrupted_by_ctrl_c(model, images):
    def presses(*args):
        presses.left -= 1
        if not presses.left:
            signal.raise_signal(signal.SIGINT)

    presses.left = 3
    handle = model.register_forward_pre_hook(presses)
    with pytest.warns(UserWarning, match="interrupted: returning the 100 bins"):
        summary = summarize(model, images, window=20, batch_size=50)
    handle.remove()
    assert summary.annotations["interrupted"]
    assert_same_sums(summary, summarize(model, images[:100], window=20, batch_size=50))


def test_ctrl_c_while_sums_change_waits_for_them(monkeypatch):
    backend = ann2neo.summary.kernels.portable
    right = backend.fold

    def slow(words, segment, state, histogram):
        state[0] += 1000  # inconsistent …
        signal.raise_signal(signal.SIGINT)
        state[0] -= 1000  # … and whole again
        right(words, segment, state, histogram)

    monkeypatch.setattr(backend, "fold", slow)
    summary = Summary(5, backend="portable")
    x = torch.rand(300, 3) - 0.5
    with pytest.raises(KeyboardInterrupt):
        summary.update({"relu": x[:250]}).update({"relu": x[250:]})
    monkeypatch.undo()
    assert_same_sums(summary, Summary(5).update({"relu": x[: summary.n_bins]}))


def test_number_of_stimuli_is_needed_for_trials(model, images):
    with pytest.raises(ValueError, match="n_trials=3: give n_stimuli="):
        summarize(model, iter(images.split(10)), n_trials=3)
    found = summarize(model, iter(images.split(10)), n_trials=3, n_stimuli=230, batch_size=10)
    assert found.units.equals(summarize(model, images, n_trials=3, batch_size=10).units)


def test_no_stimuli(model):
    with pytest.raises(ValueError, match="there are no stimuli"):
        summarize(model, torch.zeros(0, 1, 8, 8))


def test_a_backend_that_cannot_run_falls_back_with_one_line(monkeypatch, caplog):
    real = ann2neo.summary.kernels.find_spec
    ann2neo.summary.kernels._load.cache_clear()
    monkeypatch.setattr(
        ann2neo.summary.kernels, "find_spec", lambda name: None if name == "numba" else real(name)
    )
    x = torch.rand(30, 3) - 0.5
    with caplog.at_level(logging.WARNING, "ann2neo"):
        found = Summary(5).update({"relu": x, "fc": x}).update({"relu": x, "fc": x})
        _ = found.units
    assert [r.message for r in caplog.records] == [
        "backend 'compiled' cannot run on cpu (numba is not installed): using 'portable'"
    ]
    monkeypatch.undo()
    ann2neo.summary.kernels._load.cache_clear()
    assert_same_sums(found, Summary(5).update({"relu": x, "fc": x}).update({"relu": x, "fc": x}))


# -- files ---------------------------------------------------------------------------------------------


def test_there_and_back(tmp_path):
    x = {"a/b": torch.rand(99, 4) - 0.5, "conv": torch.rand(99, 2, 3, 3) - 0.5}
    summary = Summary(7, trial_bins=(40, 60), start=1, isi_histogram=True).update(x)
    summary.annotations["note"] = "ü"
    path = summary.save(tmp_path / "part.npz")
    again = Summary.load(path)
    assert_same_sums(again, summary)
    assert again.units.equals(summary.units)
    assert (again.annotations, again.trial_bins, again.start) == ({"note": "ü"}, (40, 60), 1)
    assert os.listdir(tmp_path) == ["part.npz"]


def test_damaged_files_are_named(tmp_path):
    path = Summary(7).update({"relu": torch.rand(99, 400) - 0.5}).save(tmp_path / "part.npz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"part\.npz is damaged"):
        Summary.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"not a summary of ann2neo"):
        Summary.load(path)
    with pytest.raises(ValueError, match=r"kept in a \.npz file"):
        Summary.load(tmp_path / "part.nwb")
    with pytest.raises(FileNotFoundError):
        Summary.load(tmp_path / "none.npz")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        Summary(7).save(tmp_path / "none" / "part.npz")


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    summary = Summary(7).update({"relu": torch.rand(99, 4) - 0.5})
    path = summary.save(tmp_path / "part.npz")

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        summary.update({"relu": torch.rand(9, 4)}).save(path)
    monkeypatch.undo()
    assert Summary.load(path).n_bins == 99
    assert os.listdir(tmp_path) == ["part.npz"]


def test_checkpoints_are_written_as_time_passes(model, images, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(checkpoint, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    handle = model.register_forward_pre_hook(lambda *args: seen.append(sorted(os.listdir(tmp_path))))
    summarize(model, images, checkpoint=tmp_path / "run.npz", batch_size=100)
    handle.remove()
    assert seen == [[], ["run.npz"], ["run.npz"]]


@pytest.mark.parametrize(
    "more",
    [{"n_trials": 3}, {"n_trials": 2, "time_dim": 1}, {"n_trials": 1}, {"n_trials": 1, "time_dim": 1}],
)
def test_a_window_longer_than_every_trial_is_refused_as_by_a_recording(more):
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh()), torch.randn(20, 3, 4)
    longest = -(-20 // more["n_trials"]) * (3 if "time_dim" in more else 1)
    summary = summarize(model, x, window=longest, **more)
    recording = record(model, x, **more)
    assert summary.units.equals(recording.summarize(longest).units)
    for refuses in (
        lambda: summarize(model, x, window=longest + 1, **more),
        lambda: recording.summarize(longest + 1),
    ):
        with pytest.raises(ValueError, match=f"window={longest + 1} bins, but the longest .* has {longest}"):
            refuses()


def test_a_window_longer_than_what_came_is_refused_at_the_end():
    """Nobody knows how many stimuli an iterator will give."""
    model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU()), torch.randn(20, 4)
    assert summarize(model, iter(x.split(6)), window=20).n_bins == 20
    with pytest.raises(SummaryError, match=r"window=21 bins, but the longest of 1 .* has 20") as stopped:
        summarize(model, iter(x.split(6)), window=21)
    assert stopped.value.summary.n_bins == 20
    # a part may be shorter than the window
    assert summarize(model, x, window=21, n_stimuli=40).n_bins == 20

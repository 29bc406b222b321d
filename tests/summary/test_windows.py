"""Counting windows: how long they are by default, and what few of them do to a Fano factor."""

import itertools
import warnings

import numpy as np
import pytest
import torch

from ann2neo import Monitor, Recording, SpikeRaster, Summary, compare, summarize
from ann2neo.recording.time import PseudoTime
from ann2neo.summary.kernels.windows import default_window


def recording_of(dense, trial_bins=()):
    time = PseudoTime(1.0, tuple(trial_bins) or (dense.shape[1],))
    return Recording({"relu": SpikeRaster.from_dense(dense, time=time)})


def memoryless(n_units, n_bins, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n_units, n_bins)) < rng.uniform(0.05, 0.95, (n_units, 1))


@pytest.mark.parametrize(
    ("trial_bins", "window"),
    [
        ((10_000,), 100),
        ((5000,), 100),
        ((4999,), 99),
        ((1000,), 20),
        ((200,), 4),
        ((100,), 2),
        ((99,), 2),  # windows of one bin would show nothing beyond p
        ((12,), 2),
        ((1,), 1),
        ((300, 300), 12),
        ((10, 20), 2),
        ((1,) * 500, 1),
        ((7,) * 50, 7),  # no window spans a trial
        ((7,) * 49, 3),
    ],
)
def test_the_default_window_is_the_longest_that_leaves_fifty(trial_bins, window):
    dense = np.ones((1, sum(trial_bins)))
    summary = recording_of(dense, trial_bins).summarize()
    assert summary.window == default_window(trial_bins) == window
    assert summary.n_windows == sum(n // window for n in trial_bins)
    row = summary.layers.iloc[0]
    assert (row.window, row.n_windows) == (window, summary.n_windows)


@pytest.mark.parametrize("n_stimuli", [200, 300, 500, 1000])
@pytest.mark.parametrize("window", [None, 100])
def test_memoryless_units_have_a_relative_fano_factor_of_one(n_stimuli, window):
    """Whatever the number of windows, within four standard errors; the planted truth is Bernoulli."""
    recording = recording_of(memoryless(4000, n_stimuli))
    summary = recording.summarize(window)
    relative = summary.units.relative_fano_factor
    error = relative.std() / np.sqrt(len(relative))
    # E[FF | spikes] is n W / (n W − 1) of the (n − 1)/n · (1 − p) that it is divided by
    assert relative.mean() == pytest.approx(1 + 1 / n_stimuli, abs=4 * error)
    assert 4 * error < 0.1
    assert summary.units.fano_factor.mean() == pytest.approx(
        summary.expected("bernoulli").fano_factor.mean(), abs=4 * error
    )
    assert compare({"x": recording}, window).relative_fano_factor_mean[0] == relative.mean()


def test_the_fano_factor_of_given_counts_in_closed_form():
    """All ways to place two spikes in three windows of two bins, each as likely: counted one by one."""
    ways = np.array([np.isin(np.arange(6), pair) for pair in itertools.combinations(range(6), 2)])
    units = recording_of(ways).summarize(2).units
    n, w, p = 3, 2, 1 / 3
    assert units.fano_factor.mean() == pytest.approx((n - 1) * w / (n * w - 1) * (1 - p))
    np.testing.assert_allclose(units.relative_fano_factor, units.fano_factor / ((n - 1) / n * (1 - p)))


@pytest.mark.parametrize("engine", ["raster", "elephant"])
def test_one_window_gives_no_fano_factor(engine):
    dense = memoryless(5, 60)
    with pytest.warns(UserWarning, match=r"^one window \(of 40 bins\) gives no .*: take .*, window=2 for"):
        units = recording_of(dense).summarize(40, engine=engine).units
    assert units[["fano_factor", "relative_fano_factor"]].isna().all(axis=None)
    assert recording_of(dense).summarize(40).expected("poisson").fano_factor.isna().all()
    with pytest.warns(UserWarning, match=r"^no complete window \(of 90 bins\) gives no Fano factor: record"):
        assert Summary(90).update({"relu": torch.ones(30, 2)}).layers.fano_factor_mean.isna().all()


@pytest.mark.parametrize(
    ("n_bins", "window", "said"),
    [
        (
            500,
            100,
            "a Fano factor of 5 windows (of 100 bins) is mostly noise: take shorter windows, window=",
        ),
        (38, 2, "a Fano factor of 19 windows (of 2 bins) is mostly noise: record more stimuli, 100 or more"),
        (40, 2, ""),
        (2000, 100, ""),
    ],
)
def test_few_windows_warn_once_at_the_line_that_reads_them(n_bins, window, said):
    summary = recording_of(memoryless(3, n_bins)).summarize(window)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert len(summary.units) == len(summary.layers) + 1 == 3
        assert len(summary.expected("poisson")) == 3
    assert len(caught) == bool(said)
    for warning in caught:
        assert str(warning.message).startswith(said)
        assert warning.filename == __file__


def test_a_monitor_takes_the_window_of_its_stimuli():
    x = torch.randn(300, 4, generator=torch.Generator().manual_seed(0))
    monitor = Monitor()
    monitor.observe(torch.nn.ReLU(), x)
    assert monitor.table["window"].eq(6).all()
    assert monitor.table["n_windows"].eq(50).all()
    lstm = torch.nn.LSTM(4, 3)  # steps first: 4 stimuli of 75 steps
    assert summarize(lstm, x.reshape(75, 4, 4), "LSTM", time_dim=0).window == 6
    steps_first = Monitor("LSTM", time_dim=0)
    steps_first.observe(lstm, x.reshape(75, 4, 4))
    assert steps_first.table["window"].eq(6).all()

"""Surrogates keep what they say they keep, and nothing else."""

import random

import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from ann2neo import Recording, SpikeRaster
from ann2neo.analysis.surrogates import BY_ELEPHANT, BY_STIMULI, WITHOUT_DT
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime


def network(n_units=6, trials=(200, 150, 250), seed=0, p=0.3):
    """Units that share half of their spikes, and prefer classes."""
    rng = np.random.default_rng(seed)
    n_bins = sum(trials)
    labels = rng.integers(0, 3, n_bins)
    shared = rng.random(n_bins) < p
    own = rng.random((n_units, n_bins)) < p
    dense = np.where(rng.random((n_units, n_bins)) < 0.5, shared, own)
    dense |= (labels == 1) & (rng.random((n_units, n_bins)) < 0.5)
    raster = SpikeRaster.from_dense(dense, time=PseudoTime(2.0, trials))
    return Recording({"relu": raster}, Stimuli.in_order(n_bins, labels=labels))


def in_groups(recording, group):
    dense = recording.raster("relu")
    return np.stack([dense[:, group == g].sum(axis=1) for g in np.unique(group)])


def correlation(recording):
    c = np.corrcoef(recording.raster("relu"))
    return c[np.triu_indices(len(c), 1)].mean()


@given(
    seed=st.integers(0, 1000),
    n_units=st.integers(1, 9),
    trials=st.lists(st.integers(1, 40), min_size=1, max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_shuffled_stimuli_keep_counts_in_trials_or_in_classes(seed, n_units, trials):
    recording = network(n_units, tuple(trials), seed)
    trial = np.repeat(np.arange(len(trials)), trials)
    of_trials = recording.surrogate("stimuli", seed=seed)
    assert (in_groups(of_trials, trial) == in_groups(recording, trial)).all()
    of_classes = recording.surrogate("stimuli_of_a_class", seed=seed)
    assert (in_groups(of_classes, recording.labels) == in_groups(recording, recording.labels)).all()
    assert of_classes.stimuli == recording.stimuli


def test_what_units_do_together_goes_but_what_classes_do_stays():
    recording = network(n_units=20, trials=(4000,))
    whole = correlation(recording)
    by_class = correlation(recording.surrogate("stimuli_of_a_class"))
    nothing = correlation(recording.surrogate("stimuli"))
    # the signal correlation by its definition: that of the rates by class, each bin having its class's
    dense, labels = recording.raster("relu"), recording.labels
    tuned = np.stack([dense[:, labels == g].mean(axis=1) for g in range(3)], axis=1)[:, labels]
    spread = dense.std(axis=1)
    signal = np.cov(tuned, ddof=0) / np.outer(spread, spread)
    signal = signal[np.triu_indices(20, 1)].mean()
    assert whole > by_class + 0.1
    assert by_class == pytest.approx(signal, abs=0.01)
    assert signal > 0.03
    assert nothing == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("method", BY_ELEPHANT)
def test_elephants_surrogates_are_elephants(method):
    """Against Elephant called by hand on the trains of the Block, with the same global seed."""
    from elephant.spike_train_surrogates import surrogates

    recording = network(n_units=3)
    dt = None if method in WITHOUT_DT else 7.0
    ours = recording.surrogate(method, dt=dt, seed=5)
    state, of_python = np.random.get_state(), random.getstate()
    np.random.seed(5)
    random.seed(5)
    expected = np.zeros((3, recording.n_bins), bool)
    n_spikes = 0
    for first, segment in zip(recording.time.trial_edges, recording.to_neo().segments, strict=False):
        for row, train in enumerate(segment.spiketrains):
            options = {} if dt is None else {"dt": dt * pq.ms}
            if method == "jitter_spikes":  # Elephant 1.2 takes such trains only if they begin at 0
                train = train.time_shift(-train.t_start)
            if method == "shuffle_isis":  # at the ends of bins all intervals are whole bins, the first, too
                start, stop = train.t_start, train.t_stop + 2 * pq.ms
                train = neo.SpikeTrain(train.times + 1 * pq.ms, t_start=start, t_stop=stop)
            moved = surrogates(train, method=method, **options)[0]
            n_spikes += len(moved)
            for spike in moved:
                bin_ = int(float((spike - train.t_start).rescale("ms")) // 2.0)
                if method == "shuffle_isis":
                    bin_ = round(float((spike - train.t_start).rescale("ms")) / 2.0) - 1
                expected[row, first + bin_] = True
    np.random.set_state(state)
    random.setstate(of_python)
    assert (ours.raster("relu") == expected).all()
    assert ours.annotations["n_spikes_merged"] == n_spikes - expected.sum()
    assert ours.annotations["surrogate"] == method
    assert not (ours.raster("relu") == recording.raster("relu")).all()


@pytest.mark.parametrize("bin_size", [1.0, 0.1, 0.3, 1 / 3, 10.0])
def test_shuffled_intervals_are_the_same_intervals(bin_size):
    dense = np.random.default_rng(0).random((20, 2000)) < 0.5
    time = PseudoTime(bin_size, (2000,))
    made = Recording({"a": SpikeRaster.from_dense(dense, time=time)}).surrogate("shuffle_isis", seed=1)
    assert made.annotations["n_spikes_merged"] == 0
    assert not (made.raster("a") == dense).all()
    for before, after in zip(dense, made.raster("a"), strict=True):
        # the first interval is that from the start of the trial
        one, two = (np.diff(np.flatnonzero(row), prepend=-1) for row in (before, after))
        assert sorted(one) == sorted(two)


def test_the_global_random_states_stay_and_the_seed_decides():
    recording = network()
    before = np.random.get_state()[1].tolist(), random.getstate()
    one, same, other = (recording.surrogate("dither_spikes", dt=5 * pq.ms, seed=s) for s in (1, 1, 2))
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before
    assert one == same
    assert one != other


def test_spikes_moved_by_less_than_half_a_bin_stay():
    recording = network()
    assert recording.surrogate("dither_spikes", dt=0.9).rasters == recording.rasters


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "wiggle"}, "method='wiggle': give one of stimuli, stimuli_of_a_class, dither"),
        ({"method": "dither_spikes"}, "dt=None, method='dither_spikes': give dt=, how far"),
        ({"method": "stimuli", "dt": 3}, "dt=3, method='stimuli': this method takes no dt"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        network().surrogate(**arguments)
    with pytest.raises(ValueError, match="no labels"):
        Recording(network().rasters).surrogate(BY_STIMULI[1])

"""Clients that nobody here wrote open our files and take our objects, and see what the raster holds.

Expected values come from the bool arrays that the recordings are made of, by NumPy or on paper.
"""

import sys

import neo
import numpy as np
import nwbinspector
import pynapple
import pynwb
import pytest
import quantities as pq
import spikeinterface.extractors
import viziphant.rasterplot
import viziphant.statistics
from elephant import spike_train_correlation, spike_train_surrogates, statistics
from elephant.cell_assembly_detection import cell_assembly_detection
from elephant.conversion import BinnedSpikeTrain
from elephant.gpfa import GPFA
from elephant.spade import spade
from elephant.spike_train_dissimilarity import victor_purpura_distance
from elephant.trials import TrialsFromBlock
from hypothesis import given, settings
from matplotlib.figure import Figure

import ann2neo.recording.raster
from ann2neo.files.save_load import save
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime
from helpers.strategies import recordings

BIN = 0.002
TRIAL_BINS = (60, 60, 40)
EDGES = np.array([0, 60, 120, 160])
SEGMENTS = ["trial 0", "trial 1", "trial 2"]
CONV_UNITS = [0, 1, 5, 7, 9, 11]
NAMES = [*(f"conv[{unit}]" for unit in CONV_UNITS), "fc[0]", "fc[1]"]
COLUMNS = {
    "layer": ["conv"] * 6 + ["fc"] * 2,
    "unit": [*CONV_UNITS, 0, 1],
    # of 12 units in 3 channels of 2 × 2
    "channel": [0, 0, 1, 1, 2, 2, -1, -1],
    "y": [0, 0, 0, 1, 0, 1, -1, -1],
    "x": [0, 1, 1, 1, 1, 1, -1, -1],
    "threshold": [0.5] * 6 + [0.25, -1.0],
}
SILENT, ALWAYS_ON = 4, 7
LABELS = np.array(["cat", "dog", "owl", "dog"] * 20)
IDS = np.random.default_rng(5).permutation(80)


def pynapple_may_warn(test):
    """Let pynapple say that trials follow one another without a gap, and that one spike lasts no time."""
    for warning in (
        "Some starts and ends are equal:UserWarning",
        "Some epochs have no duration:UserWarning",
        "divide by zero encountered in scalar divide:RuntimeWarning",
    ):
        test = pytest.mark.filterwarnings(f"ignore:{warning}")(test)
    return test


def raster_of_all():
    rng = np.random.default_rng(3)
    dense = rng.random((8, 160)) < np.linspace(0.1, 0.6, 8)[:, None]
    dense[SILENT] = False
    dense[ALWAYS_ON] = True
    return dense


DENSE = raster_of_all()


def spike_times(row, trial):
    """Return when a unit spiked in a trial: in the middle of bins, in s."""
    bins = np.flatnonzero(DENSE[row])
    return (bins[(bins >= EDGES[trial]) & (bins < EDGES[trial + 1])] + 0.5) * BIN


@pytest.fixture(scope="module")
def recording():
    time = PseudoTime(BIN * 1e3, TRIAL_BINS)
    conv = SpikeRaster.from_dense(DENSE[:6], time=time, units=CONV_UNITS, shape=(3, 2, 2), threshold=0.5)
    fc = SpikeRaster.from_dense(DENSE[6:], time=time, threshold=np.array([0.25, -1.0]))
    stimuli = Stimuli.in_order(80, n_steps=2, ids=IDS, labels=LABELS)
    annotations = {"model": "net", "seed": 3, "recorded_at": "2026-03-01T12:00:00+00:00"}
    return Recording({"conv": conv, "fc": fc}, stimuli, annotations)


@pytest.fixture(scope="module")
def nwb_file(recording, tmp_path_factory):
    return str(save(recording, tmp_path_factory.mktemp("nwb") / "net.nwb"))


@pytest.fixture(scope="module")
def nix_file(recording, tmp_path_factory):
    return str(save(recording, tmp_path_factory.mktemp("nix") / "net.nix"))


def single_layer(dense, bin_size=1.0, n_trials=1):
    """Return a recording of one layer in equal trials."""
    dense = np.asarray(dense, bool)
    time = PseudoTime(bin_size, (dense.shape[1] // n_trials,) * n_trials)
    return Recording({"relu": SpikeRaster.from_dense(dense, time=time)})


def trains_of(recording, trial=0):
    return list(recording.to_neo().segments[trial].spiketrains)


@pytest.fixture(autouse=True)
def _seeded():
    # Elephant draws from NumPy's global generator
    np.random.seed(0)


# Files


@pytest.mark.parametrize(
    ("reader", "mode", "file"), [(neo.io.NWBIO, "r", "nwb_file"), (neo.io.NixIO, "ro", "nix_file")]
)
def test_neo_reads_names_and_times(reader, mode, file, request):
    io = reader(request.getfixturevalue(file), mode)
    block = io.read_all_blocks()[0]
    assert block.name == "net"
    assert [segment.name for segment in block.segments] == SEGMENTS
    for trial, segment in enumerate(block.segments):
        assert sorted(train.name for train in segment.spiketrains) == sorted(NAMES)
        for train in segment.spiketrains:
            expected = spike_times(NAMES.index(train.name), trial)
            assert len(train) == len(expected)
            np.testing.assert_allclose(train.rescale("s").magnitude, expected, rtol=1e-12)
            extent = [train.t_start.rescale("s").item(), train.t_stop.rescale("s").item()]
            np.testing.assert_allclose(extent, EDGES[trial : trial + 2] * BIN, rtol=1e-12)
    if file == "nix_file":
        io.close()


def test_nix_keeps_layers_and_labels(nix_file):
    with neo.io.NixIO(nix_file, "ro") as io:
        block = io.read_all_blocks()[0]
    told = {train.name: train.annotations for train in block.segments[0].spiketrains}
    for name in ("layer", "unit", "threshold"):
        assert [told[train][name] for train in NAMES] == COLUMNS[name]
    assert [int(told[train]["channel"]) for train in NAMES[:6]] == COLUMNS["channel"][:6]
    events = [segment.events[0] for segment in block.segments]
    assert np.concatenate([event.labels for event in events]).tolist() == LABELS.tolist()
    ids = np.concatenate([event.array_annotations["stimulus_id"] for event in events])
    np.testing.assert_array_equal(ids, IDS)
    onsets = np.concatenate([event.times.rescale("ms").magnitude for event in events])
    np.testing.assert_allclose(onsets, np.arange(80) * 4.0)


def test_pynwb_alone_reads_the_tables(nwb_file):
    with pynwb.NWBHDF5IO(nwb_file, "r") as io:
        file = io.read()
        units, trials = file.units.to_dataframe(), file.trials.to_dataframe()
        stimuli = file.intervals["stimuli"].to_dataframe()
    assert len(units) == 24
    for _, row in units.iterrows():
        unit, trial = NAMES.index(row["_name"]), SEGMENTS.index(row["segment"])
        np.testing.assert_allclose(row["spike_times"], spike_times(unit, trial), rtol=1e-12)
        np.testing.assert_allclose(row["obs_intervals"], [EDGES[trial : trial + 2] * BIN])
        assert {name: row[name] for name in COLUMNS} == {n: values[unit] for n, values in COLUMNS.items()}
    np.testing.assert_allclose(
        trials[["start_time", "stop_time"]], np.stack([EDGES[:-1], EDGES[1:]], 1) * BIN
    )
    assert trials["segment"].tolist() == SEGMENTS
    assert stimuli["stimulus_id"].tolist() == IDS.tolist()
    assert stimuli["label"].tolist() == LABELS.tolist()
    np.testing.assert_allclose(stimuli["start_time"], np.arange(80) * 2 * BIN)
    np.testing.assert_allclose(stimuli["stop_time"], np.arange(1, 81) * 2 * BIN)


@pytest.fixture
def plain_nwb_file(tmp_path):
    """One of which nothing is known, with a silent unit."""
    return str(save(single_layer([[0, 1, 1, 0], [0, 0, 0, 0]]), tmp_path / "plain.nwb"))


@pytest.mark.parametrize("file", ["nwb_file", "plain_nwb_file"])
def test_nwb_inspector_finds_nothing_grave(file, request):
    found = nwbinspector.inspect_nwbfile(nwbfile_path=request.getfixturevalue(file))
    grave = [
        f"{message.importance.name} of {message.check_function_name} at {message.location}: {message.message}"
        for message in found
        if message.importance.name != "BEST_PRACTICE_SUGGESTION"
    ]
    assert grave == []


@pynapple_may_warn
def test_pynapple_opens_the_file(nwb_file):
    data = pynapple.load_file(nwb_file)
    units, trials = data["units"], data["trials"]
    assert len(units) == 24
    rates = units.restrict(trials)["rate"]
    duration = EDGES[-1] * BIN
    for i in units.index:
        unit, trial = NAMES.index(units["_name"][i]), SEGMENTS.index(units["segment"][i])
        expected = spike_times(unit, trial)
        np.testing.assert_allclose(units[i].t, expected, rtol=1e-12)
        # pynapple takes a microsecond off the end of an epoch that touches the next one
        assert rates[i] == pytest.approx(len(expected) / duration, rel=1e-5)
        assert {name: units[name][i] for name in COLUMNS} == {n: v[unit] for n, v in COLUMNS.items()}
    assert trials["segment"].tolist() == SEGMENTS
    assert data["stimuli"]["label"].tolist() == LABELS.tolist()
    assert data["stimuli"]["stimulus_id"].tolist() == IDS.tolist()


@pytest.mark.parametrize("rate", [None, 2 / BIN])
def test_spikeinterface_opens_the_file_as_a_sorting(nwb_file, rate):
    # spikes are in the middle of bins: at two frames a bin they lie on frames, the odd ones; the file says so
    sorting = spikeinterface.extractors.read_nwb_sorting(nwb_file, sampling_frequency=rate, t_start=0.0)
    assert sorting.get_num_units() == 24
    names, segments = sorting.get_property("_name"), sorting.get_property("segment")
    counts = sorting.count_num_spikes_per_unit()
    for i, unit_id in enumerate(sorting.unit_ids):
        unit, trial = NAMES.index(names[i]), SEGMENTS.index(segments[i])
        bins = np.flatnonzero(DENSE[unit, EDGES[trial] : EDGES[trial + 1]]) + EDGES[trial]
        np.testing.assert_array_equal(sorting.get_unit_spike_train(unit_id), 2 * bins + 1)
        assert counts[unit_id] == len(bins)
        for name, values in COLUMNS.items():
            assert sorting.get_property(name)[i] == values[unit]


# Objects


@settings(deadline=None, max_examples=50)
@given(recordings())
def test_binned_spike_trains_hold_the_rasters(recording):
    binned = recording.to_binned()
    expected = np.concatenate([recording.raster(layer) for layer in recording.layers])
    np.testing.assert_array_equal(binned.to_array(), expected)
    assert binned.to_array().dtype == np.int32
    assert binned.bin_size.rescale("ms").item() == recording.time.bin_size
    assert binned.t_stop.rescale("ms").item() == pytest.approx(expected.shape[1] * recording.time.bin_size)


def test_binned_spike_trains_equal_those_that_elephant_bins():
    dense = np.random.default_rng(0).random((7, 200)) < np.linspace(0, 1, 7)[:, None]
    recording = single_layer(dense, bin_size=0.3)
    by_elephant = BinnedSpikeTrain(trains_of(recording), bin_size=0.3 * pq.ms)
    ours = recording.to_binned()
    assert ours == by_elephant
    assert ours.get_num_of_spikes() == dense.sum()
    np.testing.assert_array_equal(ours.time_slice(3 * pq.ms, 9 * pq.ms).to_array(), dense[:, 10:30])


def test_binned_spike_trains_of_many_blocks(monkeypatch):
    dense = np.random.default_rng(0).random((11, 30)) < 0.5
    monkeypatch.setattr(ann2neo.recording.raster, "UNITS_AT_ONCE", 3)
    assert len(list(single_layer(dense).rasters["relu"].blocks())) == 4
    np.testing.assert_array_equal(single_layer(dense).to_binned().to_array(), dense)


def test_pynapple_takes_a_recording(recording):
    group = recording.to_pynapple()
    for name, values in COLUMNS.items():
        assert group[name].tolist() == values
    for row in range(8):
        np.testing.assert_allclose(group[row].t, (np.flatnonzero(DENSE[row]) + 0.5) * BIN, rtol=1e-12)
    np.testing.assert_allclose(group["rate"], DENSE.mean(axis=1) / BIN, rtol=1e-5)
    np.testing.assert_allclose(group.time_support.start, EDGES[:-1] * BIN)
    np.testing.assert_allclose(group.time_support.end, EDGES[1:] * BIN, atol=1.1e-6)
    np.testing.assert_array_equal(group.count(BIN).values.T, DENSE)
    np.testing.assert_array_equal(group.restrict(group.time_support[1]).count(BIN).values.T, DENSE[:, 60:120])


def test_pynapple_keeps_the_last_spikes_of_trials_of_the_shortest_bins():
    group = single_layer(np.ones((1, 6)), bin_size=1e-3, n_trials=3).to_pynapple()
    assert len(group.restrict(group.time_support)[0]) == 6


def test_xarray_takes_a_recording(recording):
    spikes = recording.to_xarray()
    assert spikes.dims == ("unit", "bin")
    np.testing.assert_array_equal(spikes.values, DENSE)
    assert {name: spikes[name].values.tolist() for name in COLUMNS} == COLUMNS
    np.testing.assert_allclose(spikes["time"], (np.arange(160) + 0.5) * 2)
    assert spikes["trial"].values.tolist() == [0] * 60 + [1] * 60 + [2] * 40
    assert spikes["label"].values.tolist() == np.repeat(LABELS, 2).tolist()
    assert spikes["stimulus_id"].values.tolist() == np.repeat(IDS, 2).tolist()
    of_fc = spikes.isel(unit=spikes["layer"] == "fc").groupby("label").mean("bin")
    expected = [DENSE[6:, np.repeat(LABELS, 2) == label].mean(axis=1) for label in ("cat", "dog", "owl")]
    np.testing.assert_allclose(of_fc.sel(label=["cat", "dog", "owl"]).values.T, expected)
    assert "label" not in single_layer([[1, 0]]).to_xarray().coords


@pytest.mark.parametrize("library", ["pynapple", "xarray"])
def test_a_missing_library_is_named(library, recording, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"needs {library}: pip install 'ann2neo\[interop\]'"):
        getattr(recording, f"to_{library}")()


# Drawings


def test_viziphant_draws_each_spike(recording):
    trains = trains_of(recording, trial=1)
    axes = viziphant.rasterplot.rasterplot(trains, axes=Figure().subplots())
    drawn = np.concatenate([np.asarray(dots.get_offsets()) for dots in axes.collections])
    rows, bins = np.nonzero(DENSE[:, 60:120])
    expected = np.stack([(bins + 60.5) * 2, rows], axis=1)
    np.testing.assert_allclose(drawn, expected)


def test_viziphant_draws_each_interval(recording):
    train = trains_of(recording)[3]
    axes = viziphant.statistics.plot_isi_histogram(
        train, axes=Figure().subplots(), bin_size=2 * pq.ms, cutoff=120 * pq.ms, histtype="bar"
    )
    intervals = np.diff(np.flatnonzero(DENSE[3, :60]))
    # a bar of 2 ms begins at the interval that it counts
    drawn = {round(bar.get_x() / 2): bar.get_height() for bar in axes.patches if bar.get_height()}
    assert drawn == dict(zip(*np.unique(intervals, return_counts=True), strict=True))


# Elephant


def test_fano_factor_over_trials():
    dense = np.random.default_rng(1).random((5, 400)) < np.array([0.1, 0.3, 0.5, 0, 1])[:, None]
    factors = statistics.fanofactor(TrialsFromBlock(single_layer(dense, n_trials=8).to_neo()))
    counts = dense.reshape(5, 8, 50).sum(axis=2)
    assert np.isnan(factors[3])
    live = [0, 1, 2, 4]
    expected = counts[live].var(axis=1) / counts[live].mean(axis=1)
    np.testing.assert_allclose(np.array(factors)[live], expected, rtol=1e-12)


def test_correlation_coefficients():
    rng = np.random.default_rng(2)
    dense = rng.random((4, 500)) < 0.3
    dense[1] |= dense[0] & (rng.random(500) < 0.7)
    recording = single_layer(dense, bin_size=0.3)
    expected = np.corrcoef(dense)
    assert expected[0, 1] > 0.4
    by_trains = BinnedSpikeTrain(trains_of(recording), bin_size=0.3 * pq.ms)
    for binned in (by_trains, recording.to_binned()):
        found = spike_train_correlation.correlation_coefficient(binned)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_covariances_and_cross_correlations():
    dense = np.random.default_rng(3).random((2, 300)) < 0.4
    binned = single_layer(dense).to_binned()
    np.testing.assert_allclose(spike_train_correlation.covariance(binned), np.cov(dense), atol=1e-12)
    histogram, lags = spike_train_correlation.cross_correlation_histogram(
        binned[0], binned[1], window=[-5, 5]
    )
    first, second = dense.astype(int)
    expected = [np.dot(first[max(0, -lag) : 300 - max(0, lag)], second[max(0, lag) : 300 + min(0, lag)])
                for lag in lags]  # fmt: skip
    assert histogram.magnitude.ravel().tolist() == expected


def test_time_scale_of_a_spike_train():
    # bins stay as they are with probability 0.9: an autocorrelation of 0.8 ** lag
    rng = np.random.default_rng(4)
    train = np.cumsum(rng.random(20_000) < 0.1) % 2 == 1
    centred = train - train.mean()
    correlation = np.array([np.sum(train[lag:] & train[: 20_000 - lag]) for lag in range(1, 41)])
    correlation = (correlation - train.sum() ** 2 / 20_000) / centred.dot(centred)
    expected = 2 * 0.5 * np.trapezoid((correlation / correlation[0]) ** 2)
    recording = single_layer(train[None], bin_size=0.5)
    assert expected == pytest.approx(0.5 * (1 + 0.64) / (1 - 0.64), rel=0.1)
    by_trains = BinnedSpikeTrain(trains_of(recording), bin_size=0.5 * pq.ms)
    for binned in (by_trains, recording.to_binned()):
        found = spike_train_correlation.spike_train_timescale(binned, max_tau=20 * pq.ms)
        assert found.rescale("ms").item() == pytest.approx(expected, rel=1e-9)


def with_pattern(lags, n_units, onsets, n_bins, p, seed=6):
    """Return sparse independent units of which the first follow one another at lags, after each onset."""
    dense = np.random.default_rng(seed).random((n_units, n_bins)) < p
    for unit, lag in enumerate(lags):
        dense[unit, onsets + lag] = True
    return dense


def test_a_planted_assembly_is_found():
    onsets = np.arange(5, 995, 11)
    recording = single_layer(with_pattern((0, 2, 3), 5, onsets, 1000, p=0.03))
    by_trains = BinnedSpikeTrain(trains_of(recording), bin_size=1 * pq.ms)
    for binned in (by_trains, recording.to_binned()):
        [assembly] = cell_assembly_detection(binned, max_lag=4, alpha=0.01)
        first = assembly["neurons"][0]
        lag_of = dict(zip(assembly["neurons"], [0, *assembly["lags"].rescale("ms").magnitude], strict=True))
        assert {unit: lag + (0, 2, 3)[first] for unit, lag in lag_of.items()} == {0: 0, 1: 2, 2: 3}
        assert np.isin(onsets + (0, 2, 3)[first], assembly["times"].rescale("ms").magnitude).mean() > 0.95


def test_a_planted_pattern_is_found():
    onsets = np.array([3, 20, 41, 66, 83, 110, 131, 150, 177])
    trains = trains_of(single_layer(with_pattern((0, 2, 4), 5, onsets, 200, p=0.02), bin_size=0.5))
    found = spade(trains, bin_size=0.5 * pq.ms, winlen=5, min_spikes=3, min_occ=8, n_surr=0)
    [pattern] = found["patterns"]
    assert dict(zip(pattern["neurons"], [0, *pattern["lags"].magnitude], strict=True)) == {
        0: 0,
        1: 1.0,
        2: 2.0,
    }
    np.testing.assert_allclose(np.sort(pattern["times"].rescale("ms").magnitude), onsets * 0.5)


def test_a_planted_latent_variable_is_found():
    rng = np.random.default_rng(7)
    n_trials, n_bins = 6, 200
    phases = rng.random(n_trials) * 2 * np.pi
    latent = np.sin(2 * np.pi * np.arange(n_bins) / 80 + phases[:, None]).reshape(-1)
    sign = np.array([1, -1] * 6)[:, None]
    dense = rng.random((12, n_trials * n_bins)) < 0.4 + 0.3 * sign * latent
    block = single_layer(dense, bin_size=4.0, n_trials=n_trials).to_neo()
    gpfa = GPFA(bin_size=20 * pq.ms, x_dim=1, em_max_iters=30)
    trajectories = gpfa.fit_transform(TrialsFromBlock(block))
    assert [trajectory.shape for trajectory in trajectories] == [(1, n_bins // 5)] * n_trials
    found = np.concatenate([trajectory[0] for trajectory in trajectories])
    planted = latent.reshape(-1, 5).mean(axis=1)
    assert abs(np.corrcoef(found, planted)[0, 1]) > 0.95


def test_victor_purpura_distances():
    dense = np.zeros((4, 50), bool)
    dense[0, 2] = dense[1, 5] = dense[2, 40] = True
    dense[3, [2, 5, 40]] = True
    trains = trains_of(single_layer(dense, bin_size=2.0))
    # moving a spike costs 100 a second, so 0.2 a bin; taking it out or putting it in costs 1
    found = victor_purpura_distance(trains, cost_factor=100 * pq.Hz)
    expected = [[0, 0.6, 2, 2], [0.6, 0, 2, 2], [2, 2, 0, 2], [2, 2, 2, 0]]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_surrogates_keep_counts():
    dense = np.random.default_rng(8).random((1, 200)) < 0.3
    recording = single_layer(dense, bin_size=2.0)
    [train] = trains_of(recording)

    [jittered] = spike_train_surrogates.jitter_spikes(train, bin_size=40 * pq.ms)
    counts, _ = np.histogram(jittered.magnitude, bins=np.arange(0, 401, 40))
    assert counts.tolist() == dense.reshape(10, 20).sum(axis=1).tolist()
    assert not np.array_equal(jittered.magnitude, train.magnitude)

    [dithered] = spike_train_surrogates.dither_spikes(train, dither=3 * pq.ms, edges=False)
    expected = (np.flatnonzero(dense) + 0.5) * 2
    # dithered times are sorted; so are the ends of the ranges they come from
    assert len(dithered) == dense.sum()
    assert (np.abs(dithered.rescale("ms").magnitude - expected) <= 3).all()

    by_trains = BinnedSpikeTrain(train, bin_size=2 * pq.ms)
    for binned in (by_trains, recording.to_binned()):
        [shuffled] = spike_train_surrogates.bin_shuffling(binned, max_displacement=10)
        bins = shuffled.to_bool_array()[0]
        assert bins.reshape(10, 20).sum(axis=1).tolist() == dense.reshape(10, 20).sum(axis=1).tolist()
        assert not np.array_equal(bins, dense[0])

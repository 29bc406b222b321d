"""Law 1, two roads and one answer; and what the statistics are expected to be."""

from dataclasses import fields, replace

import elephant.statistics
import neo
import numpy as np
import pytest
import quantities as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from ann2neo import Recording, SpikeRaster
from ann2neo.recording.time import PseudoTime
from ann2neo.summary import statistics as ours
from ann2neo.summary.statistics import STATISTICS, Sums

BIN_SIZES = [1.0, 0.3, 1 / 3, 25.0, 1e-3]


@st.composite
def rasters(draw):
    """Spikes of every density, silent and always-on units, over a few trials."""
    trial_bins = tuple(draw(st.lists(st.integers(1, 60), min_size=1, max_size=4)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    p = np.array([0.0, 1.0, 0.02, 0.2, 0.5, 0.95])
    dense = rng.random((len(p), sum(trial_bins))) < p[:, None]
    time = PseudoTime(draw(st.sampled_from(BIN_SIZES)), trial_bins)
    window = draw(st.integers(1, max(trial_bins)))
    return Recording({"relu": SpikeRaster.from_dense(dense, time=time)}), window


def disagreements(a, b):
    """Names of the statistics that differ by more than 1e-9 relative, or in where they are NaN."""
    close = {
        s.name: np.allclose(a[s.name], b[s.name], rtol=1e-9, atol=1e-12, equal_nan=True) for s in STATISTICS
    }
    return [name for name, same in close.items() if not same]


@settings(deadline=None, max_examples=60)
@given(rasters())
def test_two_roads_one_answer(case):
    recording, window = case
    by_raster = recording.summarize(window)
    by_elephant = recording.summarize(window, engine="elephant")
    assert disagreements(by_raster.values, by_elephant.values) == []
    assert by_raster.units.n_spikes.tolist() == recording.raster("relu").sum(1).tolist()


@pytest.mark.parametrize("corrupted", [f.name for f in fields(Sums) if f.name != "isi_histogram"])
def test_the_comparison_fails_when_a_sum_is_wrong(corrupted):
    dense = np.random.default_rng(0).random((3, 300)) < 0.3
    recording = Recording({"relu": SpikeRaster.from_dense(dense)})
    expected = recording.summarize(30, engine="elephant").values
    sums = recording.summarize(30).sums
    assert disagreements({s.name: s.value(sums, 1.0) for s in STATISTICS}, expected) == []
    wrong = replace(sums, **{corrupted: getattr(sums, corrupted) + 1})
    assert disagreements({s.name: s.value(wrong, 1.0) for s in STATISTICS}, expected) != []


@pytest.mark.parametrize("bin_size", BIN_SIZES)
def test_both_roads_against_elephant_called_by_hand(bin_size):
    """Trains by Neo's public constructor, windows by counting; nothing of ours but the raster."""
    rng = np.random.default_rng(1)
    trial_bins, window = (50, 43), 20
    dense = rng.random((4, 93)) < [[0.1], [0.3], [0.6], [0.0]]
    recording = Recording({"relu": SpikeRaster.from_dense(dense, time=PseudoTime(bin_size, trial_bins))})
    units = recording.summarize(window).units
    for row, spikes in enumerate(dense):
        parts = [spikes[:50], spikes[50:]]
        trains = [
            neo.SpikeTrain((np.flatnonzero(part) + 0.5) * bin_size, units="ms", t_stop=len(part) * bin_size)
            for part in parts
        ]
        counted = [part[i : i + window] for part in parts for i in range(0, len(part) - window + 1, window)]
        windows = [
            neo.SpikeTrain((np.flatnonzero(c) + 0.5) * bin_size, units="ms", t_stop=window * bin_size)
            for c in counted
        ]
        isis = [elephant.statistics.isi(train).magnitude for train in trains]
        rate = sum(len(train) for train in trains) / (93 * bin_size * pq.ms)
        assert units.mean_firing_rate[row] == pytest.approx(rate.rescale("Hz").item())
        fano = elephant.statistics.fanofactor(windows)
        assert units.fano_factor[row] == pytest.approx(fano, nan_ok=True)
        if not spikes.any():
            continue
        assert units.cv_isi[row] == pytest.approx(elephant.statistics.cv(np.concatenate(isis)))
        assert units.mean_isi[row] == pytest.approx(np.concatenate(isis).mean())
        pairs = [len(x) - 1 for x in isis]
        for name, function in (("cv2_isi", elephant.statistics.cv2), ("lv_isi", elephant.statistics.lv)):
            assert units[name][row] == pytest.approx(np.average([function(x) for x in isis], weights=pairs))


def test_the_elephant_engine_calls_elephant(monkeypatch):
    called = set()
    for name in ("mean_firing_rate", "fanofactor", "isi", "cv", "cv2", "lv"):
        original = getattr(elephant.statistics, name)

        def spy(first, *args, _name=name, _original=original, **kwargs):
            called.add((_name, type(first[0] if isinstance(first, list) else first).__name__))
            return _original(first, *args, **kwargs)

        monkeypatch.setattr(elephant.statistics, name, spy)
    dense = np.random.default_rng(0).random((1, 200)) < 0.3
    Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(50, engine="elephant")
    assert {name for name, _ in called} == {"mean_firing_rate", "fanofactor", "isi", "cv", "cv2", "lv"}
    assert {kind for name, kind in called if name in ("mean_firing_rate", "fanofactor", "isi")} == {
        "SpikeTrain"
    }


@pytest.mark.parametrize("process", ["bernoulli", "poisson"])
def test_expectations_of_a_memoryless_process(process):
    """Long independent trains of known rate meet the declared expectation within sampling error."""
    rng = np.random.default_rng(2)
    p = np.array([0.02, 0.1, 0.3, 0.5, 0.9]) if process == "bernoulli" else np.array([1e-3])
    n_bins = 400_000
    dense = rng.random((len(p), n_bins)) < p[:, None]
    summary = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(100)
    expected = summary.expected(process)
    for statistic in STATISTICS:
        # Poisson is the limit of rare spikes: p = 0.001 leaves a difference of that order
        tolerance = {"fano_factor": 0.08, "relative_fano_factor": 0.08}.get(statistic.name, 0.05)
        absolute = 0.01
        if statistic.name == "serial_correlation_isi":  # expected 0; standard error 1/√n
            absolute = 4 / np.sqrt(summary.sums.n_isis)
        found, wanted = summary.units[statistic.name], expected[statistic.name]
        assert (np.abs(found - wanted) <= absolute + tolerance * np.abs(wanted)).all(), statistic.name


@pytest.mark.parametrize("p", [1e-4, 0.1, 0.3, 0.5, 0.9, 0.995, 1.0])
def test_bernoulli_cv2_and_lv_against_their_sums(p):
    """E[f(I, J)] summed over all pairs of geometric intervals, grouped by their sum s."""
    s = np.arange(2, 200_000 if p < 0.01 else 20_000, dtype=np.float64)
    weight = p**2 * (1 - p) ** (s - 2) if p < 1 else (s == 2).astype(float)
    mean_difference = np.floor((s - 1) ** 2 / 2) / s  # Σ |2i − s| / s over i = 1 … s − 1
    mean_square = (s - 1) * (s - 2) / 3 / s  # Σ ((2i − s) / s)²
    assert ours.bernoulli_cv2(np.array([p]))[0] == pytest.approx(
        2 * (weight * mean_difference).sum(), abs=1e-7
    )
    assert ours.bernoulli_lv(np.array([p]))[0] == pytest.approx(3 * (weight * mean_square).sum(), abs=1e-7)


def test_bernoulli_expectations_are_undefined_for_silence():
    summary = Recording({"relu": SpikeRaster.from_dense([[0, 0, 0]])}).summarize(1)
    for process in ("bernoulli", "poisson"):
        expected = summary.expected(process).drop(columns=["layer", "unit"])
        defined = ["activation_probability", "mean_firing_rate", "transition_probability"]
        assert expected[defined].eq(0).all(axis=None)
        undefined = expected.drop(columns=defined)
        assert not np.isfinite(undefined).any(axis=None)


def test_layers_table_against_numpy():
    rng = np.random.default_rng(3)
    rate = np.array([0.0, 1.0, 0.2, 0.4, 0.7])[:, None]
    rasters = {name: SpikeRaster.from_dense(rng.random((5, 500)) < rate) for name in ("a", "b")}
    summary = Recording(rasters).summarize(50)
    layers = summary.layers.set_index("layer")
    assert layers.index.tolist() == ["a", "b", "network"]
    assert layers.n_units.tolist() == [5, 5, 10]
    assert layers.dead_fraction.tolist() == layers.always_on_fraction.tolist() == [0.2, 0.2, 0.2]
    for name in ("a", "b"):
        counts = rasters[name].dense().reshape(5, -1, 50).sum(2)
        defined = counts[1:]  # the silent unit has no Fano factor
        fano = defined.var(1) / defined.mean(1)
        assert layers.loc[name, "fano_factor_mean"] == pytest.approx(fano.mean())
        assert layers.loc[name, "fano_factor_var"] == pytest.approx(fano.var())
    p = np.concatenate([raster.dense().mean(1) for raster in rasters.values()])
    assert layers.loc["network", "activation_probability_var"] == pytest.approx(p.var())


def test_statistics_that_do_not_depend_on_order_do_not():
    rng = np.random.default_rng(4)
    dense = rng.random((5, 400)) < 0.3
    shuffled = dense[:, rng.permutation(400)]
    a, b = (Recording({"a": SpikeRaster.from_dense(d)}).summarize(20).values for d in (dense, shuffled))
    changed = disagreements(a, b)
    assert changed == [s.name for s in STATISTICS if s.depends_on_order]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window=0"),
        ({"window": 2.5}, "window=2.5: give a whole number"),
        ({"window": 31}, "window=31 bins"),
        ({"engine": "gpu"}, "engine='gpu'"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Recording({"a": SpikeRaster.from_dense(np.ones((1, 30)))}).summarize(**arguments)


def test_unknown_process():
    summary = Recording({"a": SpikeRaster.from_dense(np.ones((1, 30)))}).summarize()
    with pytest.raises(ValueError, match="process='gamma'"):
        summary.expected("gamma")

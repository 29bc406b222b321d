"""Laws 1 and 2 on streamed summaries: Elephant's numbers by every back end, and a monoid in time."""

import pickle
from itertools import pairwise

import elephant.spike_train_correlation
import elephant.statistics
import numpy as np
import pytest
import quantities as pq
import torch
from elephant.conversion import BinnedSpikeTrain
from hypothesis import given, settings
from hypothesis import strategies as st

from ann2neo import Recording, SpikeRaster, Summary, merge
from ann2neo.recording.time import PseudoTime
from ann2neo.summary import kernels
from ann2neo.summary.kernels import BACKENDS
from ann2neo.summary.kernels.state import FIELDS
from ann2neo.summary.statistics import LONGEST_ISI, STATISTICS
from helpers.sums import assert_same_sums

P = np.array([0.0, 1.0, 0.02, 0.2, 0.5, 0.95])
DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64]


@st.composite
def stretches(draw, max_trials=4, max_bins=60):
    """Spikes of six units (n_bins, n_units), trials, a window."""
    trials = tuple(draw(st.lists(st.integers(1, max_bins), min_size=1, max_size=max_trials)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.random((sum(trials), len(P))) < P, trials, draw(st.integers(1, max(trials)))


def as_activations(spikes, dtype, seed=0):
    """Activations that exceed thresholds of their own exactly where there are spikes."""
    rng = torch.Generator().manual_seed(seed)
    threshold = torch.rand(spikes.shape[1], generator=rng).to(dtype)
    distance = torch.rand(spikes.shape, generator=rng).add(0.5).to(dtype)
    below = torch.where(torch.from_numpy(spikes), threshold + distance, threshold - distance * 0.0)
    return below, threshold.double().numpy()


def streamed(activations, pieces, threshold=0.0, **settings):
    summary, first = Summary(**settings), 0
    for n in pieces:
        summary.update({"relu": activations[first : first + n]}, threshold)
        first += n
    return summary


def ragged(draw, n_bins):
    """Split so many bins into pieces, single bins and pieces longer than a word among them."""
    pieces = []
    while n_bins:
        pieces.append(draw(st.integers(1, min(n_bins, 70))))
        n_bins -= pieces[-1]
    return pieces


def disagreements(a, b):
    """Names of the statistics that differ by more than 1e-9 relative, or in where they are NaN."""
    return [
        s.name
        for s in STATISTICS
        if not np.allclose(a[s.name], b[s.name], rtol=1e-9, atol=1e-12, equal_nan=True)
    ]


def recording_of(spikes, trials):
    time = PseudoTime(1.0, trials)
    return Recording({"relu": SpikeRaster.from_dense(spikes.T, time=time)})


def check_parity(backend, case, dtype, pieces):
    spikes, trials, window = case
    activations, threshold = as_activations(spikes, dtype)
    summary = streamed(
        activations, pieces, threshold, window=window, trial_bins=trials, isi_histogram=True, backend=backend
    )
    by_elephant = recording_of(spikes, trials).summarize(window, engine="elephant")
    assert disagreements(summary.values, by_elephant.values) == []
    assert summary.units.n_spikes.tolist() == spikes.sum(0).tolist()
    assert summary.units.n_bins.tolist() == [len(spikes)] * len(P)
    assert summary.time.trial_bins == trials
    for unit, histogram in enumerate(summary.sums.isi_histogram):
        parts = np.split(spikes[:, unit], np.cumsum(trials)[:-1])
        isi = np.concatenate([np.diff(np.flatnonzero(part)) for part in parts])
        assert histogram.tolist() == np.bincount(isi, minlength=LONGEST_ISI + 2)[1:].tolist()


@pytest.mark.parametrize("backend", ["portable", "compiled"])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_parity_with_elephant(backend, data):
    case = data.draw(stretches())
    check_parity(backend, case, data.draw(st.sampled_from(DTYPES)), ragged(data.draw, len(case[0])))


@settings(deadline=None, max_examples=4)
@given(data=st.data())
def test_parity_with_elephant_of_the_gpu_kernel(data):
    """In Triton's interpreter where there is no GPU; kernels themselves: test_fused.py."""
    case = data.draw(stretches(max_trials=2, max_bins=40))
    check_parity("fused", case, data.draw(st.sampled_from(DTYPES)), ragged(data.draw, len(case[0])))


WRONG = {
    "activation_probability": "n_spikes",
    "mean_firing_rate": "n_spikes",
    "fano_factor": "sum_counts_squared",
    "relative_fano_factor": "sum_counts",
    "mean_isi": "sum_isi",
    "cv_isi": "sum_isi_squared",
    "relative_cv_isi": "n_isis",
    "cv2_isi": "cv2_fraction",
    "lv_isi": "lv_fraction",
    "serial_correlation_isi": "sum_isi_product",
    "transition_probability": "n_transitions",
}


@pytest.mark.parametrize("statistic", [s.name for s in STATISTICS])
def test_the_battery_fails_when_a_kernel_is_wrong(statistic, monkeypatch):
    """A sum that is wrong by one (a fraction by 2⁻²⁰) in one fold is seen in its statistic."""
    spikes = np.random.default_rng(0).random((300, 6)) < [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    expected = recording_of(spikes, (300,)).summarize(30, engine="elephant").values
    settings = {"window": 30, "backend": "portable"}
    activations = torch.from_numpy(spikes).float()
    assert disagreements(streamed(activations, [300], **settings).values, expected) == []

    right = kernels.portable.fold

    def wrong(words, segment, state, histogram):
        right(words, segment, state, histogram)
        field = WRONG[statistic]
        state[FIELDS.index(field), 0] += 1 << 32 if "fraction" in field else 1

    monkeypatch.setattr(kernels.portable, "fold", wrong)
    assert statistic in disagreements(streamed(activations, [300], **settings).values, expected)


# -- the monoid ----------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_split_merges_to_the_whole_bit_for_bit(data):
    spikes, trials, window = data.draw(stretches())
    given_ = {"window": window, "trial_bins": trials, "isi_histogram": True}
    activations = torch.from_numpy(spikes).float()
    whole = streamed(activations, [len(spikes)], **given_)
    cuts = data.draw(st.sets(st.integers(0, len(spikes)), max_size=6))
    edges = [0, *sorted(cuts), len(spikes)]
    parts = [
        streamed(activations[a:b], ragged(data.draw, b - a), start=a, **given_) for a, b in pairwise(edges)
    ]
    while len(parts) > 1:  # in any order of brackets
        i = data.draw(st.integers(0, len(parts) - 2))
        parts[i : i + 2] = [parts[i].merge(parts[i + 1])]
    assert_same_sums(parts[0], whole)
    assert_same_sums(recording_of(spikes, trials).summarize(window), whole)


def test_that_the_comparison_of_sums_can_fail():
    x = torch.rand(100, 3) - 0.5
    whole = Summary(7).update({"relu": x})
    misplaced = Summary(7).update({"relu": x[:50]}).merge(Summary(7, start=50).update({"relu": x[:50]}))
    with pytest.raises(AssertionError):
        assert_same_sums(misplaced, whole)


def test_looking_in_between_changes_nothing():
    x = torch.rand(700, 4, generator=torch.Generator().manual_seed(0)) - 0.5
    looked_at = Summary(9, trial_bins=130)
    for first in range(0, 700, 70):
        looked_at.update({"relu": x[first : first + 70]})
        _ = looked_at.layers, looked_at.correlation("relu")
    assert_same_sums(looked_at, Summary(9, trial_bins=130).update({"relu": x}))


@pytest.mark.parametrize("merged", [merge, lambda parts: merge(reversed(list(parts)))])
def test_parts_in_any_order(merged):
    x = {"a": torch.rand(90, 3) - 0.5, "b": torch.rand(90, 2, 2) - 0.5}
    parts = [Summary(7, start=i).update({k: v[i : i + 30] for k, v in x.items()}) for i in range(0, 90, 30)]
    assert_same_sums(merged(parts), Summary(7).update(x))


def doubled(summary):
    """The summary of the same stretch twice over."""
    state = summary.state_dict()
    state["settings"]["start"] = summary.stop
    return summary.merge(Summary.from_state_dict(state))


def test_two_to_the_31_bins():
    """A silent, an always-on, an alternating unit and one spike in 2¹⁶ bins, by doubling; exact integers."""
    n_doublings, n = 31 - 16, 2**16
    x = torch.zeros(n, 4)
    x[:, 1], x[::2, 2], x[0, 3] = 1, 1, 1
    summary = streamed(x, [4096] * 16, window=2**12)
    for _ in range(n_doublings):
        summary = doubled(summary)
    total = 2**31
    assert summary.n_bins == total
    with pytest.raises(ValueError, match="4294967296 bins in one summary: its sums hold 3037000499"):
        doubled(summary)
    sums = summary.sums
    assert sums.n_spikes.tolist() == [0, total, total // 2, total // n]
    assert sums.sum_counts_squared.tolist() == [
        0,
        (total >> 12) << 24,
        (total >> 12) << 22,
        total // n,
    ]
    assert sums.sum_isi_squared.tolist() == [0, total - 1, 4 * (total // 2 - 1), (total // n - 1) * n**2]
    assert sums.n_transitions.tolist() == [0, 0, total - 1, 2 * (total // n) - 1]
    assert summary.values["fano_factor"][:3].tolist()[1:] == [0, 0]
    assert summary.values["cv_isi"].tolist()[1:] == [0, 0, 0]
    assert summary.values["cv2_isi"].tolist()[1:] == [0, 0, 0]
    # one spike in every 16th window: mean 1/16, variance 1/16 − 1/256
    assert summary.values["fano_factor"][3] == pytest.approx(15 / 16, rel=1e-12)


def test_one_interval_of_two_to_the_31_bins():
    """Its square is 2⁶²; beside it 2³⁰ short ones, the variance of which by hand in Python's integers."""
    blank = Summary(2**31).update({"relu": torch.zeros(2**16, 1)})
    for _ in range(31 - 16):
        blank = doubled(blank)
    spike = torch.ones(1, 1)
    ends = [
        Summary(2**31).update({"relu": spike}),
        Summary(2**31, start=1 + 2**31).update({"relu": spike.repeat(3, 1)}),
    ]
    state = blank.state_dict()
    state["settings"]["start"] = 1
    whole = ends[0].merge(Summary.from_state_dict(state)).merge(ends[1])
    isi = [2**31 + 1, 1, 1]
    assert whole.sums.sum_isi_squared.tolist() == [sum(i * i for i in isi)]
    mean = sum(isi) / 3
    variance = (3 * sum(i * i for i in isi) - sum(isi) ** 2) / 9
    assert whole.values["cv_isi"][0] == pytest.approx(variance**0.5 / mean, rel=1e-12)


# -- population ----------------------------------------------------------------------------------------


def test_population_against_elephant():
    rng = np.random.default_rng(0)
    common = rng.random((400, 1)) < 0.2
    spikes = (rng.random((400, 6)) < 0.3) | (common & [True, True, True, False, False, False])
    spikes[:, 5] = False
    recording = recording_of(spikes, (400,))
    summary = recording.summarize(20)
    trains = recording.to_neo().segments[0].spiketrains
    with pytest.warns(UserWarning, match="No sampling rate"):
        complexity = elephant.statistics.Complexity(list(trains), bin_size=1 * pq.ms, binary=True)
    histogram = complexity.complexity_histogram
    assert summary.complexity("relu")[: len(histogram)].tolist() == histogram.tolist()
    assert summary.complexity("relu").sum() == summary.complexity().sum() == 400

    with pytest.warns(RuntimeWarning, match="invalid value"):  # of the silent unit
        expected = elephant.spike_train_correlation.correlation_coefficient(
            BinnedSpikeTrain(list(trains), bin_size=1 * pq.ms)
        )
    found = summary.correlation("relu")
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    assert found.loc[0, 1] > 0.1 > abs(found.loc[3, 4])
    above = expected[np.triu_indices(6, 1)]
    row = summary.layers.set_index("layer").loc["relu"]
    assert row.correlation_mean == pytest.approx(np.nanmean(above))
    k = spikes.sum(1)
    assert (row.n_active_mean, row.n_active_var) == (pytest.approx(k.mean()), pytest.approx(k.var()))
    # Vinje and Gallant's measure of each bin with spikes, (1 − (Σr)²/(n Σr²)) / (1 − 1/n)
    r = spikes.astype(float)
    r = r[r.any(axis=1)]
    treves_rolls = r.sum(1) ** 2 / 6 / (r**2).sum(1)
    assert row.population_sparseness == pytest.approx(((1 - treves_rolls) / (1 - 1 / 6)).mean())
    assert row.n_silent_bins == 400 - len(r) > 0


@pytest.mark.parametrize(("n_units", "p"), [(2, 0.001), (20, 0.001), (20, 0.04), (20, 0.5)])
def test_sparseness_of_rare_spikes_is_at_most_one(n_units, p):
    """Silent bins are left out: independent units give (1 − p/(1 − qⁿ)) / (1 − 1/n)."""
    spikes = np.random.default_rng(0).random((5000, n_units)) < p
    row = recording_of(spikes, (5000,)).summarize(100).layers.iloc[0]
    expected = (1 - p / (1 - (1 - p) ** n_units)) / (1 - 1 / n_units)
    assert row.population_sparseness == pytest.approx(expected, abs=0.01)
    assert row.population_sparseness <= 1
    assert row.n_silent_bins == (~spikes.any(axis=1)).sum()


def test_nothing_is_sparse_where_all_is_silent():
    layers = recording_of(np.zeros((50, 3), bool), (50,)).summarize(2).layers
    assert layers.population_sparseness.isna().all()
    assert layers.n_silent_bins.eq(50).all()


def test_complexity_of_the_network_counts_bins_across_layers():
    spikes = np.random.default_rng(1).random((500, 7)) < 0.4
    a, b = torch.from_numpy(spikes[:, :3]).float(), torch.from_numpy(spikes[:, 3:]).float()
    summary = Summary(10).update({"a": a, "b": b})
    assert summary.complexity().tolist() == np.bincount(spikes.sum(1), minlength=8).tolist()
    assert summary.layers.n_units.tolist() == [3, 4, 7]
    assert np.isnan(summary.layers.correlation_mean.iloc[-1])


def test_correlated_units_are_a_sample_by_seed():
    x = torch.rand(50, 200) - 0.5
    one, two, other = (Summary(5, n_correlated=10, seed=s).update({"relu": x}) for s in (0, 0, 1))
    assert one.correlation("relu").shape == (10, 10)
    assert one.correlation("relu").equals(two.correlation("relu"))
    assert not one.correlation("relu").index.equals(other.correlation("relu").index)
    expected = np.corrcoef((x[:, one.correlation("relu").index] > 0).numpy().T)
    np.testing.assert_allclose(one.correlation("relu"), expected, rtol=1e-9, atol=1e-12)


# -- memory formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_memory_formats_give_the_same_units(backend):
    x = torch.randn(40, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    wanted = Summary(7, n_correlated=9).update({"conv": x.contiguous()})
    spikes = (x > 0).flatten(1)
    assert wanted.units.n_spikes.tolist() == spikes.sum(0).tolist()
    forms = {
        "channels last": x.contiguous(memory_format=torch.channels_last),
        "transposed": x.transpose(1, 3).contiguous().transpose(1, 3),
        "every other": torch.randn(80, 6, 4, 5).index_put_((torch.tensor([0]),), torch.tensor(0.0))[::2, ::2],
        "expanded": x[:, :1].expand(40, 3, 4, 5),
    }
    forms["every other"].copy_(x)
    for name, form in forms.items():
        summary = Summary(7, n_correlated=9, backend=backend).update({"conv": form})
        if name == "expanded":
            assert summary.units.n_spikes.tolist() == 3 * (x[:, 0] > 0).flatten(1).sum(0).tolist()
        else:
            assert_same_sums(summary, wanted)
            assert summary.units.equals(wanted.units), name
            assert summary.correlation("conv").equals(wanted.correlation("conv"))


def test_memory_format_may_change_between_batches_and_runs():
    x = torch.randn(60, 3, 4, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    wanted = Summary(7).update({"conv": x})
    mixed = Summary(7).update({"conv": last[:20]}).update({"conv": x[20:40]})
    resumed = pickle.loads(pickle.dumps(mixed)).update({"conv": last[40:]})
    assert_same_sums(resumed, wanted)
    parts = Summary(7).update({"conv": last[:20]}), Summary(7, start=20).update({"conv": x[20:]})
    assert_same_sums(parts[0].merge(parts[1]), wanted)


# -- keeping -------------------------------------------------------------------------------------------


def test_state_pickle_copy_and_device_are_the_same_summary():
    x = torch.rand(300, 5) - 0.5
    summary = Summary(7, trial_bins=(100, 250), isi_histogram=True, bin_size=0.5 * pq.ms)
    summary.update({"relu": x})
    summary.annotations["model"] = "toy"
    for same in (pickle.loads(pickle.dumps(summary)), summary.copy(), summary.to("cpu")):
        assert_same_sums(same, summary)
        assert same.units.equals(summary.units)
        assert same.annotations == {"model": "toy"}
    going_on = summary.copy().update({"relu": x[:50]})
    assert (summary.n_bins, going_on.n_bins) == (300, 350)


# -- bad input -----------------------------------------------------------------------------------------


def part(start=0, n=20, layer="relu", threshold=0.0, units=3, **settings):
    return Summary(start=start, **{"window": 5, **settings}).update({layer: torch.ones(n, units)}, threshold)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (part(0), "has the bins 0 to 19, the other 0 to 19: merge parts in the order of their stimuli"),
        (part(40), "the other 40 to 59"),
        (part(20, window=6), "window=5, the other 6"),
        (part(20, bin_size=2.0), "bin_size=1.0, the other 2.0"),
        (part(20, trial_bins=10), "trial_bins=None, the other 10"),
        (part(20, isi_histogram=True), "isi_histogram=False, the other True"),
        (part(20, layer="fc"), r"layers \['relu'\], the other \['fc'\]"),
        (part(20, units=4), "layer 'relu' has 4 units"),
        (part(20, threshold=0.5), "unit 0 of layer 'relu' has another threshold"),
    ],
)
def test_parts_that_do_not_fit(other, message):
    with pytest.raises(ValueError, match=message):
        part(0).merge(other)


def test_a_part_given_out_of_order():
    with pytest.raises(ValueError, match="has the bins 20 to 39, the other 0 to 19"):
        part(20).merge(part(0))


def test_nothing_to_merge():
    with pytest.raises(ValueError, match="nothing to merge"):
        merge([])


def test_an_empty_summary_is_the_identity():
    one = part(0)
    assert_same_sums(Summary(5).merge(one), one)
    assert_same_sums(one.merge(Summary(5, start=20)), one)


def test_nan_is_named_and_nothing_is_added():
    summary = part(0, n=10)
    x = {"relu": torch.ones(4, 3)}
    x["relu"][2, 1] = float("nan")
    with pytest.raises(ValueError, match="layer 'relu' gives NaN for stimulus 12, unit 1"):
        summary.update(x)
    assert summary.n_bins == 10
    assert_same_sums(summary.update({"relu": torch.ones(10, 3)}), part(0))
    summary.update(x, allow_nan=True)
    assert (summary.n_nan, summary.units.n_spikes.tolist()) == (1, [24, 23, 24])


def test_nan_is_named_in_any_memory_format():
    x = torch.ones(2, 3, 4, 5)
    x[1, 2, 3, 1] = float("nan")
    with pytest.raises(ValueError, match=f"stimulus 1, unit {2 * 20 + 3 * 5 + 1}"):
        Summary(1).update({"conv": x.contiguous(memory_format=torch.channels_last)})


@pytest.mark.parametrize(
    ("activations", "message"),
    [
        ({"relu": torch.ones(2, 4)}, "layer 'relu' has 4 units"),
        ({"relu": torch.ones(2, 3), "fc": torch.ones(2, 3)}, "layer 'fc' is new"),
        ({"relu": torch.ones(2, 3), "fc": torch.ones(3, 3)}, "same bins of all layers"),
        ({}, "same bins of all layers"),
    ],
)
def test_updates_that_do_not_fit(activations, message):
    summary = part(0)
    with pytest.raises(ValueError, match=message):
        summary.update(activations)
    assert_same_sums(summary, part(0))


def test_a_layer_that_is_lacking():
    summary = Summary(2).update({"a": torch.ones(2, 1), "b": torch.ones(2, 1)})
    with pytest.raises(ValueError, match="layer 'b' is lacking"):
        summary.update({"a": torch.ones(2, 1)})
    assert summary.n_bins == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window": 0}, "window=0"),
        ({"window": 2.5}, r"window=2\.5"),
        ({"trial_bins": 0}, "trial_bins=0"),
        ({"trial_bins": (3, 0)}, r"trial_bins=\(3, 0\)"),
        ({"start": -1}, "start=-1"),
        ({"bin_size": -1}, "bin_size=-1"),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        Summary(**arguments)


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend='cuda': give one of"):
        Summary(5, backend="cuda").update({"relu": torch.ones(2, 2)})


def test_more_bins_than_planned():
    summary = Summary(5, trial_bins=(10, 10)).update({"relu": torch.ones(15, 2)})
    with pytest.raises(ValueError, match="bin 20 is beyond the last of 2 trials, which have 20 bins"):
        summary.update({"relu": torch.ones(6, 2)})
    assert summary.update({"relu": torch.ones(5, 2)}).time.trial_bins == (10, 10)


def test_an_empty_summary_says_so():
    with pytest.raises(ValueError, match="no bins yet"):
        _ = Summary().units


def test_interval_tests_need_the_histogram():
    x = torch.rand(2000, 3) - 0.5
    without = Summary(50).update({"relu": x}).fit_poisson().units
    with_it = Summary(50, isi_histogram=True).update({"relu": x}).fit_poisson().units
    for test in ("exponential_isi", "geometric_isi"):
        assert without[f"{test}_pvalue"].isna().all()
        assert with_it[f"{test}_pvalue"].notna().all()
    assert without.binomial_dispersion_pvalue.equals(with_it.binomial_dispersion_pvalue)


def test_out_of_memory_tells_what_a_unit_takes(monkeypatch):
    def full(*args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("ann2neo.summary.sums.layer_sums.new_state", full)
    with pytest.raises(RuntimeError, match=r"layer 'relu': its 3 units take 196 bytes.*Sample units="):
        part(0)


def test_what_a_unit_takes():
    """The figure in that message is what is allocated."""
    summary = Summary(5, isi_histogram=True).update({"relu": torch.ones(300, 1000)})
    layer = summary._network.layers["relu"]
    held = [layer.state, layer.complexity, layer._words, layer.histogram, *layer._thresholds.values()]
    each = sum(tensor.numel() * tensor.element_size() for tensor in held) / 1000
    from ann2neo.summary.sums.layer_sums import BYTES_PER_UNIT

    assert each == pytest.approx(BYTES_PER_UNIT + 8 * (LONGEST_ISI + 1), rel=0.1)


@pytest.mark.parametrize("window", [2, 5, 50])
def test_the_variance_of_fano_factors_without_their_noise(window):
    """Simulated: independent units that are all alike have none left, others that of 1 − p."""
    rng = np.random.default_rng(window)
    p = rng.uniform(0.1, 0.9, (2000, 1))
    for dense, expected in (
        (rng.random((2000, 1000)) < 0.3, 0.0),
        (rng.random((2000, 1000)) < p, float(np.var(1 - p))),
    ):
        row = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(window).layers.iloc[0]
        assert row.fano_factor_var > expected
        assert row.fano_factor_var_excess == pytest.approx(expected, abs=0.1 * row.fano_factor_var)
    one_window = Recording({"relu": SpikeRaster.from_dense(dense[:, :60])}).summarize(60).layers
    assert one_window.fano_factor_var_excess.isna().all()


def test_participation_ratio_counts_dimensions():
    rng = np.random.default_rng(0)
    sources = rng.random((4, 20_000)) < 0.4
    for dense, expected in (
        (rng.random((30, 20_000)) < 0.4, 30 * 20_000 / 20_030),
        (np.repeat(sources[:1], 30, axis=0), 1),
        (np.repeat(sources, 5, axis=0), 4),
        (np.concatenate([sources, np.zeros((3, 20_000), bool)]), 4),
    ):
        row = Recording({"relu": SpikeRaster.from_dense(dense)}).summarize(50).layers.iloc[0]
        assert row.participation_ratio == pytest.approx(expected, rel=0.01)
        eigenvalues = np.linalg.eigvalsh(np.corrcoef(dense[dense.any(axis=1)]))
        assert row.participation_ratio == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())

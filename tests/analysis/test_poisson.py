"""The fit: statistics against scipy and Elephant, calibration under each null, planted truth."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from ann2neo.analysis.goodness_of_fit.counts import binomial_dispersion, poisson_dispersion
from ann2neo.analysis.goodness_of_fit.intervals import _cells, exponential_isi, geometric_isi, rescaled_isi
from ann2neo.analysis.goodness_of_fit.nulls import (
    TAIL_VARIANCE,
    exponential_pvalue,
    rescaled_pvalue,
    rescaled_spread,
)
from ann2neo.analysis.goodness_of_fit.order import runs, serial_correlation
from ann2neo.analysis.goodness_of_fit.outcome import REASONS
from ann2neo.analysis.goodness_of_fit.tests import TESTS, qvalue
from ann2neo.analysis.poisson import fit_poisson
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.time import PseudoTime
from ann2neo.summary.statistics import LONGEST_ISI
from ann2neo.summary.summary import Summary

NAMES = [test.name for test in TESTS]


def summarize(dense: np.ndarray, window: int = 100, trial_bins: tuple[int, ...] = ()) -> Summary:
    time = PseudoTime(2.0, trial_bins or (dense.shape[1],))
    return Recording({"relu": SpikeRaster.from_dense(dense, time=time)}).summarize(window)


def bernoulli(p: object, n_units: int, n_bins: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n_units, n_bins)) < p


def assert_uniform(pvalue: np.ndarray) -> None:
    """The 5 % test rejects 5 %, and p-values are uniform, as far as their number lets one see."""
    assert not np.isnan(pvalue).any()
    assert stats.binomtest(int((pvalue < 0.05).sum()), len(pvalue), 0.05).pvalue > 1e-3
    assert stats.kstest(pvalue, "uniform").pvalue > 1e-3


def rejected(test: object, dense: np.ndarray, window: int = 100) -> float:
    return float((test(summarize(dense, window))[1] < 0.05).mean())  # type: ignore[operator]


# --- calibration -------------------------------------------------------------------------------


@pytest.mark.parametrize("test", [binomial_dispersion, geometric_isi, rescaled_isi, runs, serial_correlation])
@pytest.mark.parametrize("p", [0.05, 0.1, 0.3, 0.5, 0.7])
def test_bernoulli_nulls_are_uniform(test, p):
    n_bins = 20_000 if p == 0.05 else 6000
    assert_uniform(test(summarize(bernoulli(p, 600, n_bins, seed=int(100 * p))))[1])


@pytest.mark.parametrize("window", [2, 5, 20])
def test_binomial_null_is_uniform_in_short_windows(window):
    dense = bernoulli(0.4, 1000, 2000, seed=window)
    assert_uniform(binomial_dispersion(summarize(dense, window))[1])


@pytest.mark.parametrize(
    "test", [poisson_dispersion, exponential_isi, geometric_isi, rescaled_isi, serial_correlation]
)
def test_poisson_nulls_are_uniform_in_short_bins(test):
    spikes_in_bin = np.random.default_rng(3).poisson(0.006, (500, 30_000))
    assert_uniform(test(summarize(spikes_in_bin > 0, window=500))[1])


@pytest.mark.parametrize("test", [geometric_isi, rescaled_isi])
def test_interval_nulls_hold_in_trials_of_ten_spikes(test):
    dense = bernoulli(0.1, 600, 10_000, seed=4)
    assert_uniform(test(summarize(dense, 100, trial_bins=(200,) * 50))[1])


@pytest.mark.parametrize(
    ("test", "p", "n_bins", "n_trials"),
    [
        (rescaled_isi, 0.1, 120, 150),
        (geometric_isi, 0.1, 120, 150),
        (serial_correlation, 0.1, 440, 300),
        (serial_correlation, 0.2, 150, 130),
    ],
)
def test_interval_nulls_hold_in_many_trials_or_are_not_tested(test, p, n_bins, n_trials):
    """That trials cut off long intervals would show in ever more of them."""
    pvalue = test(summarize(bernoulli(p, 400, n_bins * n_trials), 10, trial_bins=(n_bins,) * n_trials))[1]
    tested = pvalue[~np.isnan(pvalue)]
    assert len(tested) > 300
    assert stats.binomtest(int((tested < 0.05).sum()), len(tested), 0.05).pvalue > 1e-3
    more = summarize(bernoulli(p, 5, n_bins * n_trials * 3), 10, trial_bins=(n_bins,) * n_trials * 3)
    assert np.isnan(test(more).pvalue).all()


@pytest.mark.parametrize("test", [rescaled_isi, serial_correlation])
@pytest.mark.parametrize(("p", "n_bins"), [(0.9, 3500), (0.97, 30_000), (0.99, 3000)])
def test_interval_nulls_hold_where_empty_bins_are_rare_or_are_not_tested(test, p, n_bins):
    pvalue = test(summarize(bernoulli(p, 1000, n_bins)))[1]
    tested = pvalue[~np.isnan(pvalue)]
    assert len(tested) == (1000 if p < 0.99 else 0)
    for level in (0.05, 1e-3):
        assert stats.binomtest(int((tested < level).sum()), max(1, len(tested)), level).pvalue > 1e-3


@pytest.mark.parametrize("test", [runs, serial_correlation])
def test_independence_nulls_hold_in_short_trials(test):
    """Of frequent spikes: there the intervals at the ends of trials weigh most."""
    dense = bernoulli(0.8, 2000, 2000, seed=6)
    assert_uniform(test(summarize(dense, 10, trial_bins=(50,) * 40))[1])


def exponential_distances(n: int, n_samples: int, seed: int) -> np.ndarray:
    intervals = np.sort(np.random.default_rng(seed).exponential(3.0, (n_samples, n)), axis=1)
    cdf = stats.expon.cdf(intervals, scale=intervals.mean(axis=1, keepdims=True))
    upper = np.arange(1, n + 1) / n
    return np.maximum(upper - cdf, cdf - upper + 1 / n).max(axis=1)


@pytest.mark.parametrize("n", [10, 20, 100, 400])
def test_exponential_pvalues_are_uniform_for_any_number_of_intervals(n):
    assert_uniform(exponential_pvalue(exponential_distances(n, 2000, seed=n), np.full(2000, n)))


@pytest.mark.parametrize("n", [9, 2000])
def test_small_exponential_pvalues_are_right_for_few_and_many_intervals(n):
    pvalue = exponential_pvalue(exponential_distances(n, 5000, seed=n), np.full(5000, n))
    for level in (0.1, 0.05, 0.01):
        assert stats.binomtest(int((pvalue < level).sum()), 5000, level).pvalue > 1e-3


def test_exponential_pvalues_are_right_where_they_are_extrapolated():
    pvalue = exponential_pvalue(exponential_distances(20, 300_000, seed=1), np.full(300_000, 20))
    for level, tolerance in ((0.02, 0.08), (1e-3, 0.3), (1e-4, 0.7)):
        assert (pvalue < level).mean() == pytest.approx(level, rel=tolerance)
    distances = np.linspace(0, 0.9, 1000)
    assert (np.diff(exponential_pvalue(distances, np.full(1000, 50))) <= 0).all()
    assert 0 < exponential_pvalue(np.array([0.9]), np.array([50]))[0] < 1e-40


def geometric_distances(p: float, n: int, n_samples: int) -> tuple[np.ndarray, np.ndarray]:
    intervals = np.random.default_rng(int(1000 * p) + n).geometric(p, (n_samples, n))
    edges = np.arange(1, LONGEST_ISI + 1)
    estimated = 1 / intervals.mean(axis=1)
    counts = np.stack([np.bincount(row, minlength=LONGEST_ISI + 1)[1 : LONGEST_ISI + 1] for row in intervals])
    difference = counts.cumsum(axis=1) / n - stats.geom.cdf(edges, estimated[:, None])
    return np.abs(difference).max(axis=1), estimated


@pytest.mark.parametrize(
    ("p", "n"), [(0.006, 100), (0.07, 20), (0.25, 40), (0.33, 1000), (0.55, 60), (0.75, 100)]
)
def test_rescaled_pvalues_are_uniform_between_the_simulated_nulls(p, n):
    distance, estimated = geometric_distances(p, n, 2000)
    assert_uniform(rescaled_pvalue(distance, np.full(2000, n), estimated))


def test_rescaled_pvalues_go_on_beyond_what_was_drawn():
    """By the tail of a Gaussian; with plain Kolmogorov–Smirnov p-values the test would hardly ever reject."""
    distance, estimated = geometric_distances(0.3, 400, 40_000)
    pvalue = rescaled_pvalue(distance, np.full(40_000, 400), estimated)
    assert (pvalue < 1e-3).mean() == pytest.approx(1e-3, rel=0.5)
    assert (stats.kstwobign.sf(distance * 20) < 0.05).mean() < 0.005
    far = np.linspace(0, 0.9, 1000)
    falling = rescaled_pvalue(far, np.full(1000, 50), np.full(1000, 0.3))
    assert (np.diff(falling) <= 0).all()
    assert 0 < falling[-1] < 1e-40


@pytest.mark.parametrize("p", [0.01, 0.2, 0.7])
def test_rescaled_spread_is_that_of_many_samples(p):
    intervals = np.random.default_rng(3).geometric(p, (4000, 500))
    estimated = 1 / intervals.mean(axis=1, keepdims=True)
    spreads = [
        (np.sqrt(500) * ((intervals <= edge).mean(axis=1) - stats.geom.cdf(edge, estimated[:, 0]))).std()
        for edge in np.unique(np.geomspace(1, 2 / p, 12).astype(int))
    ]
    assert rescaled_spread(np.array([p])) == pytest.approx(max(spreads), rel=0.04)


def test_tail_variance_is_the_largest_of_the_limiting_process():
    def minus_variance(s: float) -> float:
        return -(s * (1 - s) - ((1 - s) * np.log(1 - s)) ** 2)

    found = optimize.minimize_scalar(minus_variance, bounds=(0.01, 0.9), method="bounded")
    assert pytest.approx(-found.fun, rel=1e-6) == TAIL_VARIANCE


# --- statistics against oracles ----------------------------------------------------------------


@pytest.fixture(scope="module")
def mixed() -> np.ndarray:
    return bernoulli(np.array([0.01, 0.03, 0.1, 0.25, 0.5, 0.8])[:, None], 6, 5000, seed=5)


def intervals_of(train: np.ndarray) -> np.ndarray:
    return np.diff(np.flatnonzero(train))


def test_dispersions_against_elephant_and_contingency_tables(mixed):
    import quantities as pq
    from elephant.statistics import fanofactor
    from neo import SpikeTrain

    summary = summarize(mixed, window=50)
    of_poisson, of_binomial = poisson_dispersion(summary), binomial_dispersion(summary)
    for unit, train in enumerate(mixed):
        windows = train.reshape(-1, 50)
        trains = [SpikeTrain(np.flatnonzero(w), t_stop=50, units=pq.ms) for w in windows]
        assert of_poisson[0][unit] == pytest.approx(100 * fanofactor(trains))
        counts = windows.sum(axis=1)
        table = stats.chi2_contingency([counts, 50 - counts], correction=False)
        assert of_binomial[0][unit] == pytest.approx(table.statistic)
        # the statistic moves in steps of 2 / mean count; a value counts by half in either tail
        step = 2 / counts.mean()
        cdf = np.mean([stats.chi2.cdf(of_poisson[0][unit] + s * step / 2, 99) for s in (-1, 1)])
        assert of_poisson[1][unit] == pytest.approx(2 * min(cdf, 1 - cdf), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("n_windows", [2, 3, 5, 10])
@pytest.mark.parametrize(
    ("test", "p"),
    [(poisson_dispersion, 0.05), *((binomial_dispersion, p) for p in (0.05, 0.3, 0.9))],
)
def test_equal_counts_in_few_windows_reject_nothing(test, p, n_windows):
    """Simulated: in two windows, memoryless units of p = 0.3 have equal counts in 6 % of cases."""
    found = test(summarize(bernoulli(p, 4000, 100 * n_windows, seed=n_windows)))
    tested = np.isfinite(found.pvalue)
    assert not (qvalue(found.pvalue) < 0.05).any()
    assert (found.pvalue[tested] < 0.05).mean() < 0.065 if tested.sum() > 1000 else True


def test_two_windows_against_all_their_counts():
    """Given the spikes, the counts of two windows are hypergeometric: exact mid-p values, one by one."""
    n_spikes, window = 60, 100
    first = np.arange(15, 31)
    dense = np.zeros((len(first), 200), bool)
    for row, k in zip(dense, first, strict=True):
        row[:k] = row[100 : 100 + n_spikes - k] = True
    exact = stats.hypergeom(200, n_spikes, window)
    mid = [2 * (exact.cdf(k - 1) + exact.pmf(k) / 2) for k in first]
    found = binomial_dispersion(summarize(dense)).pvalue
    upper = first < 27  # above, the counts are more equal than half of all are
    np.testing.assert_allclose(found[upper], np.minimum(1, 2 * np.array(mid))[upper], rtol=0.3, atol=0.01)
    assert found[-1] == pytest.approx(exact.pmf(30), rel=0.5)  # equal counts: half of them, on both sides


@pytest.mark.parametrize("trial_bins", [(9,), (5, 3, 1), (2, 2, 5)])
def test_runs_against_all_orders_of_the_same_bins(trial_bins, monkeypatch):
    monkeypatch.setattr("ann2neo.analysis.goodness_of_fit.order.FEWEST_SPIKES", 0)
    ends = np.cumsum(trial_bins)[:-1]
    for k in (2, 4, 7):
        spikes = np.array(list(itertools.combinations(range(9), k)))
        dense = np.zeros((len(spikes), 9), bool)
        np.put_along_axis(dense, spikes, True, axis=1)
        changes = [
            sum((np.diff(part.astype(int)) != 0).sum() for part in np.split(row, ends)) for row in dense
        ]
        z = (changes - np.mean(changes)) / np.std(changes)
        np.testing.assert_allclose(runs(summarize(dense, 1, trial_bins))[0], z, atol=1e-12)


def test_serial_correlation_against_scipy(mixed):
    z = serial_correlation(summarize(mixed))[0]
    for unit, train in enumerate(mixed):
        intervals = intervals_of(train)
        if len(intervals) <= 50:
            assert np.isnan(z[unit])
            continue
        r = stats.pearsonr(intervals[1:], intervals[:-1]).statistic
        # of the same sums but for the means of first and last intervals, which are here those of all
        assert z[unit] == pytest.approx(np.sqrt(len(intervals) - 1) * (r + 1 / len(intervals)), abs=0.1)


def test_independence_is_rejected_where_order_tells(mixed):
    """Planted: bursts, alternation, intervals that take turns; a renewal process is none of these."""
    rng = np.random.default_rng(8)
    once = rng.random((200, 2500)) < 0.4
    bursts = once.repeat(2, axis=1)
    assert rejected(runs, bursts) == 1
    assert (runs(summarize(bursts))[0] < -4).all()
    alternating = np.stack([rng.permuted(once, axis=1), rng.random((200, 2500)) < 0.02], 2).reshape(200, -1)
    assert (runs(summarize(alternating))[0] > 4).mean() > 0.9
    turns = np.zeros((200, 6000), bool)
    gamma = np.zeros((200, 6000), bool)
    for of_turns, of_gamma in zip(turns, gamma, strict=True):
        lengths = np.stack([rng.integers(1, 6, 600), rng.integers(8, 20, 600)], 1).ravel()
        of_turns[np.cumsum(lengths)[np.cumsum(lengths) < 6000]] = True
        at = np.cumsum(rng.integers(4, 12, 1000))
        of_gamma[at[at < 6000]] = True
    assert rejected(serial_correlation, turns) == 1
    assert rejected(serial_correlation, gamma) < 0.1
    assert rejected(runs, gamma) == 1


def test_exponential_statistic_against_scipy(mixed):
    statistic = exponential_isi(summarize(mixed)).statistic
    for unit, train in enumerate(mixed):
        intervals = intervals_of(train)
        assert intervals.max() <= LONGEST_ISI or unit == 0
        expected = stats.kstest(intervals, "expon", args=(0, intervals.mean())).statistic
        assert statistic[unit] == pytest.approx(expected)


def test_rescaled_statistic_against_random_rescaling(mixed):
    """As Haslinger et al. have it: at whole bins any draw gives the same, and elsewhere a bit more."""
    found = rescaled_isi(summarize(mixed))
    rng = np.random.default_rng(0)
    for unit, train in enumerate(mixed):
        intervals = intervals_of(train)
        q = -np.log1p(-1 / intervals.mean())
        draws = rng.random((200, len(intervals)))
        xi = q * (intervals - 1) - np.log(1 - draws * (1 - np.exp(-q)))
        at_bins = [
            (xi[0] <= q * edge).mean() - stats.expon.cdf(q * edge) for edge in range(1, LONGEST_ISI + 1)
        ]
        assert found.statistic[unit] == pytest.approx(np.abs(at_bins).max())
        if unit:  # of the first, some intervals are longer than are compared
            of_draws = [stats.kstest(of_draw, "expon").statistic for of_draw in xi]
            assert found.statistic[unit] <= min(of_draws) + 1e-9


def probabilities(p: float, width: int, n_cells: int) -> np.ndarray:
    inner = np.diff(stats.geom.cdf(width * np.arange(n_cells + 1), p))
    return np.append(inner, stats.geom.sf(width * n_cells, p))


def test_geometric_statistic_against_its_quadratic_form(mixed):
    """Y is the squared length of O − nπ in the metric of its covariance, p being estimated."""
    statistic, pvalue, effect, _ = geometric_isi(summarize(mixed))
    assert not np.isnan(statistic).all()
    for unit, train in enumerate(mixed):
        intervals = intervals_of(train)
        n, p = len(intervals), 1 / intervals.mean()
        (width,), (n_cells,) = _cells(np.array([p]), np.array([n]))
        assert n * probabilities(p, width, n_cells).min() >= 5
        edges = np.append(width * np.arange(n_cells + 1), intervals.max() + 10_000)
        observed = np.histogram(intervals, edges + 0.5)[0]
        expected = probabilities(p, width, n_cells)
        assert statistic[unit] >= stats.chisquare(observed, n * expected).statistic
        h = 1e-6 * p
        slope = (probabilities(p + h, width, n_cells) - probabilities(p - h, width, n_cells)) / (2 * h)
        covariance = np.diag(expected) - np.outer(expected, expected)
        covariance -= np.outer(slope, slope) * p**2 * (1 - p)
        residual = observed - n * expected
        metric = np.linalg.pinv(covariance, rcond=1e-10, hermitian=True)
        assert statistic[unit] == pytest.approx(residual @ metric @ residual / n, rel=1e-5)
        assert pvalue[unit] == pytest.approx(stats.chi2.sf(statistic[unit], n_cells))
        assert effect[unit] == pytest.approx(np.sqrt(max(0, statistic[unit] - n_cells) / n))


def test_likelihoods_against_scipy(mixed):
    units = fit_poisson(summarize(mixed)).units
    for row, train in zip(units.to_dict("records"), mixed, strict=True):
        of_poisson = stats.poisson.logpmf(train, train.mean()).sum()
        of_bernoulli = stats.bernoulli.logpmf(train, train.mean()).sum()
        assert row["poisson_log_likelihood"] == pytest.approx(of_poisson)
        assert row["bernoulli_log_likelihood"] == pytest.approx(of_bernoulli)
        assert row["poisson_aic"] == pytest.approx(2 - 2 * of_poisson)
        assert row["bernoulli_bic"] == pytest.approx(np.log(5000) - 2 * of_bernoulli)


def test_effects_do_not_grow_with_the_recording_and_are_those_of_the_null_under_it():
    null = {
        "poisson_dispersion": 1 - 0.3,
        "binomial_dispersion": 1,
        "exponential_isi": 0.3,
        "geometric_isi": 0,
    }
    null |= {"rescaled_isi": 0, "runs": 0, "serial_correlation": 0}
    for n_bins in (4000, 16_000):
        (network,) = fit_poisson(summarize(bernoulli(0.3, 300, n_bins))).layers.iloc[1:].to_dict("records")
        for name in NAMES:
            chance = {"runs": 0.01, "serial_correlation": 0.01}.get(name, 0.05)
            assert network[f"{name}_effect"] == pytest.approx(null[name], abs=chance), name
    once = bernoulli(0.4, 100, 4000)
    twice = summarize(once.repeat(2, axis=1))
    lag_one = [np.corrcoef(train[1:], train[:-1])[0, 1] for train in once.repeat(2, axis=1)]
    np.testing.assert_allclose(runs(twice).effect, lag_one, atol=2e-3)
    np.testing.assert_allclose(binomial_dispersion(twice).effect.mean(), 2, rtol=0.05)


def test_qvalues_against_benjamini_and_hochberg_by_hand():
    units = fit_poisson(summarize(bernoulli(np.linspace(0, 0.9, 40)[:, None], 40, 3000))).units
    for name in NAMES:
        p = units[f"{name}_pvalue"].dropna()
        m = len(p)
        assert 0 < m < 40
        for row, value in p.items():
            larger = p[p >= value]
            by_hand = min(1.0, *(other * m / (p <= other).sum() for other in larger))
            assert units[f"{name}_qvalue"][row] == pytest.approx(by_hand)
        assert units[f"{name}_qvalue"].notna().sum() == m


# --- planted truth -----------------------------------------------------------------------------


def test_poisson_dispersion_rejects_memoryless_units_and_binomial_does_not():
    dense = bernoulli(0.3, 400, 10_000, seed=6)
    assert rejected(poisson_dispersion, dense) == pytest.approx(0.67, abs=0.08)
    assert rejected(binomial_dispersion, dense) < 0.09


def test_exponential_rejects_memoryless_units_of_large_p():
    limit = np.quantile(exponential_distances(300, 4000, seed=7), 0.95)
    for p, at_least in ((0.05, 0.25), (0.3, 1.0)):
        dense = bernoulli(p, 300, int(300 / p), seed=7)
        intervals = [intervals_of(train) for train in dense]
        expected = [stats.kstest(i, "expon", args=(0, i.mean())).statistic > limit for i in intervals]
        assert rejected(exponential_isi, dense) == pytest.approx(np.mean(expected), abs=0.05)
        assert np.mean(expected) >= at_least


def test_modulated_units_are_rejected_by_dispersion():
    p = np.where(np.arange(10_000) % 2000 < 1000, 0.05, 0.15)
    dense = bernoulli(p, 50, 10_000, seed=8)
    assert rejected(poisson_dispersion, dense) == rejected(binomial_dispersion, dense) == 1


@pytest.mark.parametrize("period", [3, 10, 100, 250])
def test_regular_units_are_rejected_by_tests_of_counts_and_intervals(period):
    dense = np.zeros((1, 60 * period), bool)
    dense[0, ::period] = True
    units = fit_poisson(summarize(dense, window=2 * period + 1)).units
    for test in TESTS:
        if test.of in ("counts", "ISIs"):
            assert units[f"{test.name}_pvalue"][0] < 1e-3, test.name


def test_refractory_units_are_rejected_by_rescaling():
    dense = bernoulli(0.25, 200, 3000, seed=12)
    dense[:, 1:] &= ~dense[:, :-1]
    assert rejected(rescaled_isi, dense) == 1
    assert rejected(rescaled_isi, bernoulli(0.2, 200, 3000, seed=12)) < 0.12


def test_bursting_units_are_rejected_by_interval_tests():
    rng = np.random.default_rng(9)
    dense = np.zeros((20, 20_000), bool)
    for train in dense:
        isi = np.where(rng.random(400) < 0.5, rng.geometric(0.5, 400), rng.geometric(0.012, 400))
        spikes = np.cumsum(isi)
        train[spikes[spikes < 20_000]] = True
    assert rejected(exponential_isi, dense) == rejected(geometric_isi, dense) == 1
    assert rejected(rescaled_isi, dense) == 1


# --- the tables --------------------------------------------------------------------------------


def test_silent_and_always_on_units():
    dense = np.zeros((3, 1000), bool)
    dense[1] = True
    dense[2, [3, 500]] = True
    units = fit_poisson(summarize(dense)).units
    assert units["rate"].tolist() == [0.0, 500.0, 1.0]
    assert units["activation_probability"].tolist() == [0.0, 1.0, 0.002]
    for name in NAMES:
        of_test = units[[f"{name}_statistic", f"{name}_pvalue", f"{name}_qvalue"]]
        assert of_test.loc[[0, 2]].isna().all(axis=None), name
    # an always-on unit is no Poisson process, and nothing can be said of its memory
    assert units["poisson_dispersion_pvalue"][1] < 1e-6
    assert units["exponential_isi_pvalue"][1] < 1e-6
    assert units[["binomial_dispersion_pvalue", "geometric_isi_pvalue"]].loc[1].isna().all()


def test_what_was_not_tested_says_why():
    dense = np.zeros((5, 1000), bool)
    dense[1] = True
    dense[2, [3, 500]] = True
    dense[3, ::4] = True
    dense[4] = True
    dense[4, 500] = False
    fitted = fit_poisson(summarize(dense, window=10))
    assert fitted.reasons["runs"].tolist() == [
        *REASONS[2:4],
        "too few spikes",
        "",
        "too few bins without spike",
    ]
    assert fitted.reasons["serial_correlation"].tolist() == [
        *("silent", "intervals all alike", "too few spikes in a trial", "intervals all alike"),
        "too few bins without spike",
    ]
    assert fitted.reasons["geometric_isi"][4] == fitted.reasons["rescaled_isi"][4] == "too few intervals"
    assert fitted.reasons["rescaled_isi"][1] == "always on"
    block = np.zeros((1, 1000), bool)
    block[0, :400] = True
    assert fit_poisson(summarize(block)).reasons["geometric_isi"][0] == "intervals all alike"
    for name in NAMES:
        assert (fitted.reasons[name] == "").tolist() == fitted.units[f"{name}_pvalue"].notna().tolist()
    told = fitted.untested.set_index(["test", "reason"])["n_units"]
    assert told["runs", "silent"] == told["runs", "always on"] == 1
    assert (told.groupby("test").sum() + fitted.reasons.eq("").sum() == 5).all()
    slow = np.zeros((1, 20_000), bool)
    slow[0, ::600] = True
    assert set(fit_poisson(summarize(slow)).untested["reason"]) == {
        *("too few spikes", "too few intervals", "intervals too long")
    }
    assert set(fit_poisson(summarize(dense[3:4], window=1000)).untested["reason"]) == {
        *("fewer than two windows", "intervals all alike")
    }
    assert (
        fit_poisson(summarize(dense[3:4], window=1)).reasons["binomial_dispersion"][0] == "windows of one bin"
    )
    alone = summarize(bernoulli(0.5, 1, 400), 1, trial_bins=(1,) * 400)
    assert fit_poisson(alone).reasons["runs"][0] == "no adjacent bins"
    streamed = Summary(10).update({"relu": torch.from_numpy(bernoulli(0.5, 1, 400).T.copy()).float()})
    without = streamed.fit_poisson()
    assert without.reasons["exponential_isi"][0] == "no histogram of intervals"


def test_untestable_summaries_give_nan_without_warning():
    dense = bernoulli(0.3, 4, 1000)
    assert np.isnan(poisson_dispersion(summarize(dense, window=1000))[1]).all()
    assert np.isnan(binomial_dispersion(summarize(dense, window=1000))[1]).all()
    assert np.isnan(binomial_dispersion(summarize(dense, window=1))[1]).all()
    in_short_trials = summarize(dense, window=10, trial_bins=(10,) * 100)
    assert np.isnan(exponential_isi(in_short_trials)[1]).all()
    assert np.isnan(geometric_isi(in_short_trials)[1]).all()
    layers = fit_poisson(summarize(np.zeros((2, 100), bool))).layers
    assert layers[[f"{name}_tested" for name in NAMES]].eq(0).all(axis=None)
    assert layers[[f"{name}_rejected" for name in NAMES]].isna().all(axis=None)


@pytest.fixture(scope="module")
def recording() -> Recording:
    time = PseudoTime(2.0, (700, 600, 700))
    hidden = bernoulli(np.array([0.05, 0.4, 0.0])[:, None], 3, 2000, seed=10)
    maps = bernoulli(np.array([0.7, 1.0, 0.2, 0.1])[:, None], 4, 2000, seed=11)
    return Recording(
        {
            "maps": SpikeRaster.from_dense(maps, time=time, units=[1, 6, 13, 22], shape=(2, 3, 4)),
            "hidden": SpikeRaster.from_dense(hidden, time=time, units=[2, 5, 7], shape=(8,)),
        }
    )


def test_columns_and_layers_come_from_the_declaration(recording):
    summary = recording.summarize()
    fitted = summary.fit_poisson()
    columns = [f"{name}_{what}" for name in NAMES for what in ("statistic", "pvalue", "qvalue", "effect")]
    criteria = ("log_likelihood", "aic", "bic")
    assert list(fitted.units.columns) == [
        *summary.places.columns,
        *("n_spikes", "rate", "activation_probability"),
        *(f"{process}_{criterion}" for process in ("poisson", "bernoulli") for criterion in criteria),
        *columns,
    ]
    layers = fitted.layers
    assert layers["layer"].tolist() == ["maps", "hidden", "network"]
    assert layers["n_units"].tolist() == [4, 3, 7]
    for name in NAMES:
        q = fitted.units[f"{name}_qvalue"]
        for row, of_layer in enumerate([q[:4], q[4:], q]):
            tested = [value for value in of_layer if value == value]
            assert layers[f"{name}_tested"][row] == len(tested)
            for alpha in (0.05, 1e-6):
                share = sum(value < alpha for value in tested) / len(tested)
                of_alpha = replace(fitted, alpha=alpha).layers
                assert of_alpha[f"{name}_rejected"][row] == pytest.approx(share)
    assert {test.process for test in TESTS} == {"poisson", "bernoulli", "renewal"}


# --- surrogates --------------------------------------------------------------------------------


@pytest.mark.parametrize("process", ["poisson", "bernoulli"])
def test_surrogates_are_compliant_blocks_of_the_fitted_trials(recording, process):
    from neo.test.tools import assert_neo_object_is_compliant

    block = recording.summarize().fit_poisson().simulate(process, seed=3)
    assert_neo_object_is_compliant(block)
    assert block.annotations["surrogate"] is True
    assert (block.annotations["process"], block.annotations["seed"]) == (process, 3)
    assert [group.name for group in block.groups] == ["maps", "hidden"]
    assert [len(group.spiketrains) for group in block.groups] == [12, 9]
    bounds = [(s.spiketrains[0].t_start.item(), s.spiketrains[0].t_stop.item()) for s in block.segments]
    assert bounds == [(0, 1400), (1400, 2600), (2600, 4000)]
    original = recording.to_neo()
    for segment, of_original in zip(block.segments, original.segments, strict=True):
        for train, expected in zip(segment.spiketrains, of_original.spiketrains, strict=True):
            assert train.segment is segment
            assert train.name == expected.name
            for key in ("layer", "unit", "channel", "y", "x"):
                assert train.annotations.get(key) == expected.annotations.get(key)
    assert block.groups[1].spiketrains[0] is block.segments[0].spiketrains[4]
    assert all(len(segment.spiketrains[6]) == 0 for segment in block.segments)


@pytest.mark.parametrize("process", ["poisson", "bernoulli"])
def test_surrogate_rates_are_the_fitted_ones(recording, process):
    fitted = recording.summarize().fit_poisson()
    n_bins = 20_000
    (segment,) = fitted.simulate(process, n_bins=n_bins, seed=1).segments
    counts = np.array([len(train) for train in segment.spiketrains])
    p = fitted.units["activation_probability"].to_numpy()
    variance = n_bins * (p if process == "poisson" else p * (1 - p))
    assert (np.abs(counts - n_bins * p) <= 4 * np.sqrt(variance)).all()
    assert segment.spiketrains[0].t_stop.item() == 2 * n_bins


@pytest.mark.parametrize("process", ["poisson", "bernoulli"])
def test_surrogates_depend_on_the_seed_alone(recording, process):
    def times(seed: int, backwards: bool = False) -> list[list[float]]:
        block = fitted.simulate(process, seed=seed)
        trains = [train for s in block.segments for train in range(len(s.spiketrains))]
        order = range(len(trains))
        found = {}
        for i in reversed(order) if backwards else order:
            train = block.segments[i // 7].spiketrains[i % 7]
            found[i] = (train - train.t_start).magnitude.round(6).tolist()
        return [found[i] for i in order]

    fitted = recording.summarize().fit_poisson()
    np.random.seed(0)
    before = np.random.get_state()[1].tolist()
    first = times(1)
    assert np.random.get_state()[1].tolist() == before
    np.random.seed(5)
    assert times(1, backwards=True) == first
    assert times(2) != first
    # trials 0 and 2 are equally long
    assert first[0] != first[14]


def test_tables_belong_to_whoever_asked(recording):
    fitted = recording.summarize().fit_poisson()
    layers, surrogate = fitted.layers, Recording.from_neo(fitted.simulate("bernoulli"))
    for table in (fitted.units, fitted.reasons, fitted.layers, fitted.untested):
        table.insert(0, "extra", 0)
        table[table.columns[0]] = "mine"
    assert len(fitted.units) == len(fitted.reasons) == 7
    assert layers.equals(fitted.layers)
    assert surrogate == Recording.from_neo(fitted.simulate("bernoulli"))


def test_surrogates_pass_the_tests_of_their_own_process():
    fitted = fit_poisson(summarize(bernoulli(0.3, 60, 6000)))
    again = Recording.from_neo(fitted.simulate("bernoulli")).summarize(100).fit_poisson()
    assert (again.units["binomial_dispersion_pvalue"] < 0.05).mean() < 0.15
    # continuous times: in bins a twentieth as long hardly any two spikes share a bin
    slow = fit_poisson(summarize(bernoulli(0.1, 60, 3000)))
    block = slow.simulate("poisson")
    with pytest.raises(ValueError, match="bin_size"):
        Recording.from_neo(block)
    with pytest.warns(UserWarning, match="share a bin"):
        fine = Recording.from_neo(block, bin_size=0.1)
    assert fine.n_units == 60
    summary = fine.summarize(2000)
    assert (poisson_dispersion(summary)[1] < 0.05).mean() < 0.15
    assert (geometric_isi(summary)[1] < 0.05).mean() < 0.15


@pytest.mark.parametrize("units", [[29, 5], [22, 5], [0], [7], [20, 10]])
def test_units_that_do_not_show_their_layer_s_shape(units):
    dense = bernoulli(0.5, len(units), 100)
    raster = SpikeRaster.from_dense(dense, units=units, shape=(3, 5, 2))
    fitted = Recording({"maps": raster}).summarize().fit_poisson()
    (segment,) = fitted.simulate("bernoulli").segments
    for train, unit in zip(segment.spiketrains, units, strict=True):
        place = tuple(train.annotations[key] for key in ("channel", "y", "x"))
        assert (train.annotations["unit"], place) == (unit, np.unravel_index(unit, (3, 5, 2)))


def test_bad_input_is_named(recording):
    summary = recording.summarize()
    with pytest.raises(ValueError, match="process='gamma'"):
        fit_poisson(summary).simulate("gamma")
    with pytest.raises(ValueError, match="n_bins=0"):
        fit_poisson(summary).simulate(n_bins=0)
    with pytest.raises(ValueError, match=r"alpha=1\.5"):
        fit_poisson(summary, alpha=1.5)

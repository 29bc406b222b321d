"""Rates by class and by trial: against scipy's tables and likelihoods, under the null, planted."""

import numpy as np
import pytest
import torch
from scipy import stats

from ann2neo.analysis.modulation import fit_groups, fit_modulated
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime
from ann2neo.summary.summary import Summary

LABELS = np.random.default_rng(0).integers(0, 5, 2000)


def recording_of(dense, labels=LABELS, trial_bins=None, n_layers=1):
    n_bins = dense.shape[1]
    time = PseudoTime(1.0, trial_bins or (n_bins,))
    rasters = {
        f"layer {i}": SpikeRaster.from_dense(part, time=time)
        for i, part in enumerate(np.array_split(dense, n_layers))
    }
    return Recording(rasters, None if labels is None else Stimuli.in_order(n_bins, labels=labels))


def bernoulli(p, n_units, n_bins=2000, seed=0):
    return np.random.default_rng(seed).random((n_units, n_bins)) < p


def test_against_contingency_tables_and_likelihoods():
    dense = bernoulli(np.linspace(0.02, 0.9, 9)[:, None] * (0.4 + 0.15 * LABELS).clip(0, 1), 9)
    units = fit_modulated(recording_of(dense, n_layers=2)).units
    for row, spikes in zip(units.to_dict("records"), dense, strict=True):
        groups = [spikes[label == LABELS] for label in range(5)]
        table = np.array([[group.sum(), (~group).sum()] for group in groups])
        known = stats.chi2_contingency(table, correction=False)
        assert row["modulation_statistic"] == pytest.approx(known.statistic)
        if not np.isnan(row["modulation_pvalue"]):
            assert row["modulation_pvalue"] == pytest.approx(known.pvalue, rel=1e-9)
        f = stats.f_oneway(*groups).statistic
        of_f = f * 4 / (f * 4 + 2000 - 5)
        assert row["eta_squared"] == pytest.approx(of_f)
        assert row["epsilon_squared"] == pytest.approx(1 - (1 - of_f) * 1999 / 1995)
        one = stats.bernoulli.logpmf(spikes, spikes.mean()).sum()
        five = sum(stats.bernoulli.logpmf(group, group.mean()).sum() for group in groups)
        assert row["bernoulli_log_likelihood"] == pytest.approx(one)
        poisson = sum(stats.poisson.logpmf(group, group.mean()).sum() for group in groups)
        assert row["modulated_poisson_log_likelihood"] == pytest.approx(poisson)
        assert row["modulated_poisson_aic"] == pytest.approx(10 - 2 * poisson)
        assert row["poisson_bic"] == pytest.approx(
            np.log(2000) - 2 * stats.poisson.logpmf(spikes, spikes.mean()).sum()
        )
        assert row["modulated_bernoulli_log_likelihood"] == pytest.approx(five)
        assert row["bernoulli_aic"] == pytest.approx(2 - 2 * one)
        assert row["modulated_bernoulli_aic"] == pytest.approx(10 - 2 * five)
        assert row["modulated_bernoulli_bic"] == pytest.approx(5 * np.log(2000) - 2 * five)
        assert row["bernoulli_bic"] == pytest.approx(np.log(2000) - 2 * one)
    smallest = np.bincount(LABELS).min()
    expected = [min(spikes.mean(), 1 - spikes.mean()) * smallest for spikes in dense]
    assert units["modulation_pvalue"].isna().tolist() == [few < 5 for few in expected]


@pytest.mark.parametrize("by", ["labels", "trials"])
@pytest.mark.parametrize("p", [0.03, 0.3, 0.9])
def test_the_null_is_uniform_and_has_no_effect(by, p):
    recording = recording_of(bernoulli(p, 1500, seed=int(100 * p)), trial_bins=(500, 300, 700, 500))
    units = fit_modulated(recording, by).units
    pvalue = units["modulation_pvalue"].dropna()
    assert len(pvalue) > 1400
    assert stats.binomtest(int((pvalue < 0.05).sum()), len(pvalue), 0.05).pvalue > 1e-3
    assert stats.kstest(pvalue, "uniform").pvalue > 1e-3
    effect = units["epsilon_squared"]
    assert abs(effect.mean()) < 4 * effect.std() / np.sqrt(len(effect))
    n_groups = 5 if by == "labels" else 4
    assert units["eta_squared"].mean() == pytest.approx((n_groups - 1) / 1999, rel=0.1)


def test_planted_modulation_is_found_with_its_rates():
    p = np.array([0.2, 0.2, 0.5, 0.2, 0.9])
    dense = np.concatenate([bernoulli(p[LABELS], 40), bernoulli(0.4, 40, seed=1)])
    fitted = fit_modulated(recording_of(dense))
    units = fitted.units
    assert (units["modulation_qvalue"][:40] < 1e-6).all()
    assert (units["modulated_bernoulli_bic"] < units["bernoulli_bic"]).tolist() == [True] * 40 + [False] * 40
    np.testing.assert_allclose(fitted.rates[:40].mean(), p, atol=0.02)
    expected = p[LABELS].var() / (p[LABELS].mean() * (1 - p[LABELS].mean()))
    assert units["epsilon_squared"][:40].mean() == pytest.approx(expected, abs=0.02)
    sharp = fit_modulated(recording_of((LABELS == 3)[None])).units
    assert sharp["eta_squared"][0] == pytest.approx(1)


def test_drift_over_trials_is_found():
    drifting = bernoulli(np.repeat([0.2, 0.3, 0.4, 0.5], 500), 30)
    fitted = fit_modulated(recording_of(drifting, None, (500,) * 4), by="trials")
    assert fitted.rates.columns.tolist() == [0, 1, 2, 3]
    assert (fitted.units["modulation_pvalue"] < 1e-6).all()


def test_order_does_not_matter():
    recording = recording_of(bernoulli(0.1 + 0.1 * LABELS, 7))
    one = fit_modulated(recording)
    other = fit_modulated(recording.sort_stimuli("labels"))
    assert one.units.equals(other.units)
    assert one.rates.equals(other.rates)


def test_surrogates_have_the_rates_of_each_class_and_no_more():
    p = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    labels = np.random.default_rng(2).integers(0, 5, 20_000)
    dense = np.concatenate([bernoulli(p[labels], 6, 20_000), bernoulli(p[::-1][labels], 6, 20_000)])
    dense[1] = dense[0]  # correlated beyond their rates
    fitted = fit_modulated(recording_of(dense, labels, (8000, 12_000), n_layers=3))
    surrogate = Recording.from_neo(fitted.simulate(seed=3))
    again = fit_modulated(surrogate)
    np.testing.assert_allclose(again.rates, fitted.rates, atol=0.04)
    assert surrogate.stimuli == fitted.recording.stimuli
    assert surrogate.time == fitted.recording.time
    drawn = surrogate.raster("layer 0")
    assert np.corrcoef(drawn[0], drawn[1])[0, 1] < 0.5 < np.corrcoef(dense[0], dense[1])[0, 1]
    assert surrogate == Recording.from_neo(fitted.simulate(seed=3))
    assert surrogate != Recording.from_neo(fitted.simulate(seed=4))
    assert surrogate.annotations["surrogate"] is True


def test_tables_belong_to_whoever_asked():
    fitted = fit_modulated(recording_of(bernoulli(0.1 + 0.1 * LABELS, 7)))
    drawn = Recording.from_neo(fitted.simulate())
    units, rates = fitted.units, fitted.rates
    units["n_spikes"], rates[0] = 0, 0.0
    assert (fitted.units["n_spikes"] > 0).all()
    assert (fitted.rates > 0).all(axis=None)
    assert Recording.from_neo(fitted.simulate()) == drawn


def test_poisson_surrogates_have_the_rates_in_continuous_time():
    p = np.array([0.0, 0.1, 0.3, 0.5, 0.9])
    labels = np.random.default_rng(5).integers(0, 5, 12_000)
    dense = bernoulli(p[labels], 8, 12_000)
    fitted = fit_modulated(recording_of(dense, labels, (5000, 7000), n_layers=2))
    block = fitted.simulate("poisson", seed=3)
    assert block.annotations["process"] == "poisson, a rate for each of labels"
    counts = np.zeros((8, 12_000))
    for segment in block.segments:
        for unit in range(8):
            train = segment.spiketrains[unit]
            times = train.rescale("ms").magnitude
            assert (np.diff(times) >= 0).all()
            assert segment.spiketrains[unit].name == f"layer {unit // 4}[{unit % 4}]"
            np.add.at(counts[unit], times.astype(int), 1)
    assert counts[:, labels == 0].sum() == 0
    for label in range(5):
        n = (labels == label).sum()
        expected = fitted.rates[label] * n
        assert (np.abs(counts[:, labels == label].sum(axis=1) - expected) <= 4 * np.sqrt(expected)).all()
    of_strong = counts[:, labels == 4]
    assert of_strong.var() == pytest.approx(of_strong.mean(), rel=0.05)  # not p (1 − p)
    again = fitted.simulate("poisson", seed=3).segments[1].spiketrains[5]
    np.testing.assert_array_equal(again.magnitude, block.segments[1].spiketrains[5].magnitude)


def test_summaries_of_groups_give_the_fit_of_the_recording():
    dense = bernoulli(0.1 + 0.1 * LABELS, 9)
    whole = fit_modulated(recording_of(dense, n_layers=2))
    of_class = {label: Summary(10) for label in range(5)}
    for first in range(0, 2000, 100):  # a stream in which the classes are mixed
        shown, labels = torch.from_numpy(dense[:, first : first + 100].T).float(), LABELS[first : first + 100]
        for label, summary in of_class.items():
            of_label = shown[labels == label]
            summary.update({"layer 0": of_label[:, :5], "layer 1": of_label[:, 5:]})
    of_groups = fit_groups(of_class, "labels")
    # what a raster from numbers was thresholded with is not known
    assert of_groups.units.drop(columns="threshold").equals(whole.units.drop(columns="threshold"))
    assert of_groups.rates.equals(whole.rates)
    with pytest.raises(ValueError, match="simulate needs the order of stimuli"):
        of_groups.simulate()
    with pytest.raises(ValueError, match=r"there are summaries of \[0\] only: give two groups or more"):
        fit_groups({0: of_class[0]})
    other = recording_of(bernoulli(0.5, 3)).summarize(window=10)
    with pytest.raises(ValueError, match=r"the summary of 'b' has 3 units of .* the one of 'a' has 9 units"):
        fit_groups({"a": of_class[0], "b": other})
    with pytest.raises(ValueError, match="the summary of 'none' has no bins"):
        fit_groups({"a": of_class[0], "none": Summary()})
    with pytest.raises(TypeError, match="type list: give a mapping of summaries"):
        fit_groups(list(of_class.values()))
    with pytest.raises(TypeError, match="'b' is of type ModulatedFit"):
        fit_groups({"a": of_class[0], "b": of_groups})


def test_silent_and_always_on_units_have_no_statistic():
    dense = np.stack([np.zeros(2000, bool), np.ones(2000, bool)])
    units = fit_modulated(recording_of(dense)).units
    assert units[["modulation_statistic", "modulation_pvalue", "epsilon_squared"]].isna().all(axis=None)
    assert units["modulated_bernoulli_log_likelihood"].tolist() == [0, 0]


def test_a_small_group_is_not_tested():
    labels = np.repeat([0, 1], [2000, 10])
    units = fit_modulated(recording_of(bernoulli(0.02, 3, 2010), labels)).units
    assert units["modulation_pvalue"].isna().all()
    assert units["modulation_statistic"].notna().all()


def test_bad_input():
    unknown = np.where(LABELS == 1, np.nan, LABELS.astype(float))
    with pytest.raises(ValueError, match=r"of 2000 bins have the label NaN: leave these bins out"):
        fit_modulated(recording_of(bernoulli(0.5, 1), unknown))
    with pytest.raises(ValueError, match=r"process='gamma': give one of"):
        fit_modulated(recording_of(bernoulli(0.5, 1))).simulate("gamma")
    with pytest.raises(ValueError, match=r"by='classes': give one of \('labels', 'trials'\)"):
        fit_modulated(recording_of(bernoulli(0.5, 1)), "classes")
    with pytest.raises(ValueError, match=r"the stimuli have no labels: give labels="):
        fit_modulated(recording_of(bernoulli(0.5, 1), None))
    with pytest.raises(ValueError, match="by='trials', but all bins are of one group, 0"):
        fit_modulated(recording_of(bernoulli(0.5, 1)), "trials")

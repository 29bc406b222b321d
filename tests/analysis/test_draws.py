"""What is drawn has the probabilities that were given, and nothing else."""

import numpy as np
import pytest
from scipy import stats

from ann2neo.analysis import draws


def test_counts_in_each_group_are_binomial():
    p = np.array([[0.0, 0.2], [0.5, 1.0], [0.03, 0.7]])
    group = np.random.default_rng(0).integers(0, 2, 20_000)
    packed = draws.bernoulli(p, group, np.random.default_rng(1))
    dense = np.unpackbits(packed, axis=1, count=len(group)).astype(bool)
    for unit, g in np.ndindex(p.shape):
        of_group = dense[unit, group == g]
        assert stats.binomtest(int(of_group.sum()), len(of_group), p[unit, g]).pvalue > 1e-3


def test_bins_and_units_are_independent():
    n_bins = 40_000
    packed = draws.bernoulli(np.full((2, 1), 0.4), np.zeros(n_bins, int), np.random.default_rng(2))
    one, other = np.unpackbits(packed, axis=1, count=n_bins)
    for first, second in ((one, other), (one[1:], one[:-1]), (other[1:], one[:-1])):
        assert stats.pearsonr(first, second).pvalue > 1e-3


@pytest.mark.parametrize("at_once", [1, 3, 8])
def test_how_many_units_are_drawn_at_once_does_not_matter(at_once, monkeypatch):
    p, group = np.linspace(0, 1, 16).reshape(8, 2), np.arange(501) % 2
    whole = draws.bernoulli(p, group, np.random.default_rng(3))
    monkeypatch.setattr(draws, "units_at_once", lambda n_bins: at_once)
    assert (draws.bernoulli(p, group, np.random.default_rng(3)) == whole).all()
    dense = np.random.default_rng(3).random((8, 501)) < p[:, group]
    assert (np.unpackbits(whole, axis=1, count=501) == dense).all()

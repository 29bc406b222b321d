"""Indicators of planted recordings, whose values are known."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from ann2neo import Recording, SpikeRaster, plot
from ann2neo.analysis.memorization import RATES, distributions, indicators
from ann2neo.recording.stimuli import Stimuli


def planted(p_of_class, n_bins=4000, seed=0):
    """Units (rows) with a spike probability for each class (columns)."""
    rng = np.random.default_rng(seed)
    p = np.asarray(p_of_class)
    labels = rng.integers(0, p.shape[1], n_bins)
    raster = SpikeRaster.from_dense(rng.random((len(p), n_bins)) < p[:, labels])
    return Recording({"relu": raster}, Stimuli.in_order(n_bins, labels=labels))


def network_row(recording, **more):
    return indicators(recording, **more).set_index("layer").loc["network"]


def test_units_without_classes_are_like_their_surrogates():
    told = network_row(planted(np.repeat([[0.2], [0.5], [0.7]], 4, axis=1)), window=20)
    n_windows = 200
    assert told["activation_probability_mean"] == pytest.approx(np.mean([0.2, 0.5, 0.7]), abs=0.01)
    assert told["activation_probability_var"] == pytest.approx(np.var([0.2, 0.5, 0.7]), abs=0.01)
    for who in ("", "surrogate_"):
        assert told[f"{who}relative_fano_factor_mean"] == pytest.approx(1 - 1 / n_windows, abs=0.08)
        assert told[f"{who}correlation_mean"] == pytest.approx(0, abs=0.02)
        assert told[f"{who}binomial_dispersion_rejected"] < 0.2
        assert told[f"{who}exponential_isi_rejected"] == 1
    assert told["class_selectivity"] == pytest.approx(0, abs=0.005)
    assert told["sorted_relative_fano_factor_mean"] == pytest.approx(1, abs=0.15)


def test_units_that_prefer_classes_differ_from_theirs():
    recording = planted([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    told = network_row(recording)
    assert told["class_selectivity"] == pytest.approx(1)
    assert told["sorted_relative_fano_factor_mean"] > 15  # counts are 0 or 20
    assert told["relative_fano_factor_mean"] == pytest.approx(1, abs=0.1)  # shuffled, nothing is left
    assert told["correlation_mean"] == pytest.approx(-1 / 3, abs=0.01)  # 1 and two times −1
    assert told["participation_ratio"] == pytest.approx(1, abs=0.01)
    assert told["surrogate_correlation_mean"] == pytest.approx(0, abs=0.02)
    assert told["surrogate_participation_ratio"] == pytest.approx(3, abs=0.05)


def test_the_surrogates_have_the_rates_of_the_units_and_no_order():
    recording = planted([[0.1, 0.4], [0.9, 0.3]])
    table = indicators(recording, n_orders=2)
    assert not [
        name for name in table if name.startswith("surrogate_") and name.removeprefix("surrogate_") in RATES
    ]
    assert indicators(recording, n_orders=2).equals(table)
    assert not indicators(recording, n_orders=2, seed=1).equals(table)


def test_the_order_of_the_recording_does_not_matter():
    """Rates, class selectivity and sorted stimuli do not depend on it; the rest is over random orders."""
    recording = planted([[0.1, 0.6, 0.2], [0.3, 0.3, 0.8]])
    by_class = recording.sort_stimuli("labels")
    one, other = (network_row(each, n_orders=20, surrogates=False) for each in (recording, by_class))
    for name in (*RATES, "class_selectivity", "correlation_mean", "n_active_var"):
        assert one[name] == pytest.approx(other[name])
    assert one["relative_fano_factor_mean"] == pytest.approx(other["relative_fano_factor_mean"], abs=0.1)


def test_without_labels_there_is_no_class_selectivity():
    raster = SpikeRaster.from_dense(np.random.default_rng(0).random((3, 400)) < 0.4)
    table = indicators(Recording({"relu": raster}, Stimuli.in_order(400)), surrogates=False)
    assert "class_selectivity" not in table
    assert not [name for name in table if name.startswith("surrogate_")]


def test_bad_input():
    recording = planted([[0.5, 0.5]], n_bins=30)
    with pytest.raises(ValueError, match="n_orders=0"):
        indicators(recording, n_orders=0)
    with pytest.raises(ValueError, match="this recording has no stimuli"):
        indicators(Recording(recording.rasters))
    with pytest.raises(ValueError, match="50"):
        indicators(recording, window=50)


def test_shuffled_stimuli_keep_their_spikes_and_their_bins():
    dense = np.array([[1, 0, 0, 1, 1, 0]])
    stimuli = Stimuli(np.array([0, 1, 4]), np.array([7, 8, 9]), np.array(["a", "b", "c"]))
    recording = Recording({"relu": SpikeRaster.from_dense(dense)}, stimuli)
    of_stimulus = {7: [1], 8: [0, 0, 1], 9: [1, 0]}
    orders = set()
    for seed in range(8):
        shuffled = recording.shuffle_stimuli(seed)
        ids = shuffled.stimuli.ids.tolist()
        orders.add(tuple(ids))
        assert shuffled.raster("relu")[0].tolist() == [bool(k) for i in ids for k in of_stimulus[i]]
        assert shuffled.sort_stimuli().raster("relu").tolist() == recording.raster("relu").tolist()
        assert shuffled.annotations["shuffled_with"] == seed
    assert len(orders) > 3


def test_distributions_are_quantiles_of_p():
    p = np.linspace(0, 1, 41)
    dense = np.arange(40)[None] < np.round(p * 40)[:, None]
    recording = Recording({"a": SpikeRaster.from_dense(dense)})
    table = distributions(recording)
    assert table.equals(distributions(recording.summarize(10)))
    of_layer = table[table["layer"] == "a"]
    assert of_layer["activation_probability"].to_numpy() == pytest.approx(of_layer["quantile"].to_numpy())
    assert set(table["layer"]) == {"a", "network"}


def test_the_plot_of_an_indicator_shows_the_table():
    import pandas as pd

    table = pd.DataFrame({"step": [3, 0, 1], "layer": "network", "dead_fraction": [0.3, 0.0, 0.1]})
    ax = Figure().subplots()
    plot.indicators(table, "dead_fraction", ax=ax)
    assert ax.lines[0].get_xydata().tolist() == [[0, 0.0], [1, 0.1], [3, 0.3]]
    with pytest.raises(ValueError, match="no layer 'relu'; the table has network"):
        plot.indicators(table, "dead_fraction", ax=ax, layer="relu")
    with pytest.raises(ValueError, match="no column 'rate'; the table has step"):
        plot.indicators(table, "rate", ax=ax)

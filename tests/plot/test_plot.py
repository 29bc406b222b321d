"""Each drawing shows the numbers that it was given."""

import itertools

import numpy as np
import pytest
from matplotlib.figure import Figure

from ann2neo import plot
from ann2neo.interop import extras
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime


def planted(p=(0.6, 0.0, 0.2), n_bins=400, bin_size=1.0, seed=0):
    """One layer of three units of known p, and another of two, in two trials."""
    rng = np.random.default_rng(seed)
    time = PseudoTime(bin_size, (n_bins // 2, n_bins - n_bins // 2))
    first = rng.random((len(p), n_bins)) < np.array(p)[:, None]
    second = rng.random((2, n_bins)) < 0.5
    rasters = {
        "relu1": SpikeRaster.from_dense(first, time=time, units=[3, 5, 7], shape=(10,)),
        "relu2": SpikeRaster.from_dense(second, time=time),
    }
    return Recording(rasters, Stimuli.in_order(n_bins))


@pytest.fixture
def ax():
    return Figure().subplots()


def dots(ax):
    """Where the dashes of a raster are: (time, row), sorted."""
    places = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    return sorted(map(tuple, places.tolist()))


def test_a_raster_shows_each_spike_once(ax):
    recording = planted()
    plot.raster(recording, "relu1", ax=ax, bins=150)
    dense = recording.raster("relu1")[:, :150]
    rows = np.argsort(recording.raster("relu1")[:, :200].sum(axis=1))
    expected = [(k + 0.5, row) for row, unit in enumerate(rows) for k in range(150) if dense[unit, k]]
    assert dots(ax) == sorted(expected)
    assert ax.get_xlim() == (0, 150)
    assert ax.get_xlabel() == "pseudo-time (ms), one stimulus every 1 ms"


def test_a_raster_scales_with_the_bin_size(ax):
    recording = planted(bin_size=2.5)
    plot.raster(recording, "relu2", ax=ax, bins=4)
    times = {time for time, _ in dots(ax)}
    assert times <= {1.25, 3.75, 6.25, 8.75}
    assert ax.get_xlim() == (0, 10)


def test_layers_share_the_rows_of_a_raster(ax):
    plot.raster(planted(), ax=ax, units=4)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["relu1", "relu2"]
    assert ax.get_yticks().tolist() == [0.5, 2.5]
    assert ax.get_ylim() == (-0.5, 3.5)


def test_rows_are_taken_from_the_least_to_the_most_active(ax):
    rng = np.random.default_rng(0)
    dense = rng.random((101, 300)) < np.linspace(0, 1, 101)[rng.permutation(101), None]
    plot.raster(Recording({"relu": SpikeRaster.from_dense(dense)}), ax=ax, units=11)
    per_row = np.bincount([int(row) for _, row in dots(ax)], minlength=11)
    assert per_row.tolist() == np.sort(dense.sum(axis=1))[::10].tolist()


def test_a_silent_raster_is_drawn_empty(ax):
    plot.raster(Recording({"relu": SpikeRaster.from_dense(np.zeros((2, 9)))}), ax=ax)
    assert len(ax.collections) == 0
    assert ax.get_xlim() == (0, 9)


@pytest.mark.parametrize("bad", [{"units": 0}, {"bins": 0}])
def test_a_raster_needs_rows_and_bins(ax, bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}=0"):
        plot.raster(planted(), ax=ax, **bad)


def test_a_raster_names_the_layers_there_are(ax):
    with pytest.raises(ValueError, match="relu1"):
        plot.raster(planted(), "conv", ax=ax)


def test_rates_are_the_histogram_of_p_in_percent(ax):
    plot.rates(planted().summarize(window=20), ax=ax, label="a")
    plot.rates(planted((1.0, 1.0, 1.0)).summarize(window=20), ax=ax, label="b")
    heights = [patch.get_data().values for patch in ax.patches]
    assert heights[0].sum() == pytest.approx(100)
    assert heights[0][0] == pytest.approx(20)  # one of five units is silent
    assert heights[1][-1] == pytest.approx(60)  # p = 1 belongs to the last bin
    assert max(h.max() for h in heights) < ax.get_ylim()[1]
    assert [text.get_text() for text in ax.legend().get_texts()] == ["a", "b"]


def test_the_top_axis_of_rates_is_in_hz(ax):
    plot.rates(planted(bin_size=2.0).summarize(window=20), ax=ax)
    ax.figure.draw_without_rendering()
    (top,) = ax.child_axes
    assert top.get_xlim() == pytest.approx((0, 500))
    assert "(Hz)" in top.get_xlabel()


def test_fano_factors_stand_above_their_p(ax):
    recording = planted()
    plot.fano_against_rate(recording.summarize(window=20), ax=ax)
    (points,) = (np.ma.filled(c.get_offsets(), np.nan) for c in ax.collections)
    dense = np.concatenate([recording.raster(layer) for layer in recording.layers])
    counts = dense.reshape(5, 20, 20).sum(axis=2)
    active = dense.any(axis=1)
    np.testing.assert_allclose(points[active, 0], dense.mean(axis=1)[active])
    np.testing.assert_allclose(points[active, 1], (counts.var(axis=1)[active] / counts.mean(axis=1)[active]))
    poisson, bernoulli = (line.get_xydata() for line in ax.lines)
    np.testing.assert_allclose(poisson[:, 1], 1)
    np.testing.assert_allclose(bernoulli.sum(axis=1), 1)
    assert "20 bins" in ax.get_ylabel()


def test_the_expectations_are_drawn_once(ax):
    for name in ("a", "b"):
        plot.fano_against_rate(planted().summarize(window=20), ax=ax, label=name)
    assert len(ax.lines) == 2
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["Poisson: 1", "Bernoulli: 1 − p", "a", "b"]


@pytest.mark.parametrize("n", [1, 4])
def test_an_overview_has_a_raster_for_each_recording(tmp_path, n):
    names = [f"network {i}" for i in range(n)]
    figure = plot.overview({name: planted(seed=i) for i, name in enumerate(names)}, window=20)
    titles = [axes.get_title() for axes in figure.axes]
    assert [t for t in titles if t.startswith("network")] == names
    figure.savefig(tmp_path / "overview.png")
    assert (tmp_path / "overview.png").read_bytes().startswith(b"\x89PNG")


def many_layers(n):
    raster = planted().rasters["relu2"]
    return Recording({f"layer{i}.0.relu_1": raster for i in range(n)}, planted().stimuli)


@pytest.mark.parametrize("n_layers", [2, 17, 50])
def test_names_of_layers_do_not_overlap(n_layers):
    figure = plot.overview({"net": many_layers(n_layers)})
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert len(boxes) >= min(n_layers, 17)
    for below, above in itertools.pairwise(boxes):
        assert below.y1 <= above.y0
        assert figure.bbox.contains(below.x0, below.y0)


def test_texts_of_an_overview_do_not_overlap_and_are_not_clipped():
    figure = plot.overview({name: planted() for name in ("random", "generalizing", "memorizing")})
    figure.draw_without_rendering()
    boxes = []
    for axes in figure.axes:
        texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
        texts += [child.xaxis.label for child in axes.child_axes]
        boxes += [(t.get_text(), t.get_window_extent()) for t in texts if t.get_text()]
    assert len(boxes) > 8
    canvas = figure.bbox
    for i, (text, box) in enumerate(boxes):
        assert canvas.contains(box.x0, box.y0), text
        assert canvas.contains(box.x1, box.y1), text
        for other, its_box in boxes[:i]:
            assert not box.overlaps(its_box), (text, other)


def test_an_overview_needs_a_recording():
    with pytest.raises(ValueError, match="no recording"):
        plot.overview({})


def test_a_missing_library_is_named_with_its_extra(monkeypatch, ax):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "viziphant" else object())
    with pytest.raises(ImportError, match=r"viziphant: pip install 'ann2neo\[plot\]'"):
        plot.raster(planted(), ax=ax)

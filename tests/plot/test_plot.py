"""Each drawing shows the numbers that it was given."""

import itertools
import sys
from types import SimpleNamespace

import matplotlib.pyplot as plt
import neo
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

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


def test_a_silent_raster_is_drawn_empty_and_says_so(ax):
    plot.raster(Recording({"relu": SpikeRaster.from_dense(np.zeros((2, 9)))}), ax=ax)
    assert len(ax.collections) == 0
    assert [text.get_text() for text in ax.texts] == ["no spikes"]
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
    np.testing.assert_allclose(poisson[:, 1], 19 / 20)
    np.testing.assert_allclose(bernoulli[:, 1], 19 / 20 * (1 - bernoulli[:, 0]))
    assert "20 windows of 20 bins" in ax.get_ylabel()


def test_the_expectations_are_drawn_once(ax):
    for name in ("a", "b"):
        plot.fano_against_rate(planted().summarize(window=20), ax=ax, label=name)
    assert len(ax.lines) == 2
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["Poisson: 19/20", "Bernoulli: 19/20 · (1 − p)", "a", "b"]


def test_other_windows_on_the_same_axes_are_named_and_have_lines_of_their_own(ax):
    for name, n_bins, window in (("a", 400, 20), ("b", 400, 40), ("c", 800, 20)):
        plot.fano_against_rate(planted(n_bins=n_bins).summarize(window=window), ax=ax, label=name)
    assert ax.get_ylabel() == "Fano factor of spike counts"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert {"a: 20 windows of 20 bins", "b: 10 windows of 40 bins", "c: 40 windows of 20 bins"} < {*texts}
    for line, n in zip(ax.lines, (20, 20, 10, 10, 40, 40), strict=True):
        p, drawn = line.get_xydata().T
        expected = (n - 1) / n * (1 if "Poisson" in line.get_label() else 1 - p)
        np.testing.assert_allclose(drawn, expected)
        assert f"{n - 1}/{n}" in line.get_label()


def test_one_window_is_drawn_as_no_point_but_as_its_reason():
    figure = plot.overview({"12": planted(n_bins=12), "400": planted(n_bins=400)}, window=6)
    fano = figure.axes[-1] if figure.axes[-1].get_title() else figure.axes[-2]
    few, many = (np.ma.filled(c.get_offsets(), np.nan)[:, 1] for c in fano.collections)
    assert np.isfinite(few).sum() <= 5
    assert np.isfinite(many).any()
    figure = plot.overview({"one": planted(n_bins=9)}, window=5)  # trials of 4 and 5 bins
    (fano,) = (axes for axes in figure.axes if axes.get_title().startswith("Fano"))
    assert not np.isfinite(np.ma.filled(fano.collections[0].get_offsets(), np.nan)[:, 1]).any()
    assert "one window (of 5 bins) gives no Fano factor" in " ".join(fano.texts[0].get_text().split())
    assert len(fano.lines) == 0


def neurons():
    rng = np.random.default_rng(0)
    block, segment = neo.Block(name="mouse"), neo.Segment()
    block.segments.append(segment)
    for _ in range(4):
        times = np.sort(rng.choice(1000, 200, replace=False)) + 0.5
        segment.spiketrains.append(neo.SpikeTrain(times, units="ms", t_stop=1000))
    return Recording.from_neo(block, 1)


def words_of(figure):
    texts = [t.get_text() for t in figure.findobj(Text)]
    return " ".join(" ".join(texts).split())


def test_neurons_live_in_time_and_networks_in_pseudo_time():
    words = words_of(plot.overview({"mouse": neurons()}))
    assert "time (ms), bins of 1 ms" in words
    assert "spikes per second (Hz)" in words
    assert "A neuron's bin is a choice" in words
    assert "pseudo" not in words
    assert "stimul" not in words
    assert "pseudo" in words_of(plot.overview({"net": planted()}))
    one_kind = words_of(plot.comparison({"mouse": neurons().summarize(20)}))
    assert "A neuron's bin is a choice" in one_kind
    assert "pseudo" not in one_kind
    assert "neuron" not in words_of(plot.comparison({"net": planted().summarize(20)}))


def test_a_figure_is_shown_once_in_a_notebook_and_is_known_to_pyplot(monkeypatch):
    shown = []
    display = SimpleNamespace(display=lambda data, raw: shown.append((data, raw)))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    for figure in (plot.overview({"a": planted()}), plot.comparison({"a": planted().summarize(20)})):
        assert plt.fignum_exists(figure.number)  # so that plt.show() shows it
        figure._ipython_display_()
        assert not plt.fignum_exists(figure.number)  # so that the end of the cell does not show it again
        (data, raw) = shown.pop()
        assert raw
        assert data["image/png"].startswith(b"\x89PNG")


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

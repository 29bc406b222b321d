"""Networks beside neurons: a grasshopper's auditory receptor, through Neo's files, by the same statistics."""

import shlex
from datetime import datetime, timezone
from importlib.resources import files
from itertools import pairwise

import matplotlib.image
import neo
import numpy as np
import pandas as pd
import pytest
import quantities as pq
from elephant.statistics import cv, fanofactor, isi
from neo.io import NWBIO, NixIO

from ann2neo import compare, load, plot, save
from ann2neo.analysis.caveats import NETWORKS_AND_NEURONS
from ann2neo.analysis.comparison import summarized
from ann2neo.cli import main
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording

SECONDS = 10


@pytest.fixture(scope="module")
def spikes():
    """Spike times in µs of two recordings of ten seconds (Rokem et al. 2006), which nitime brings along."""
    data = files("nitime") / "data"
    return [np.loadtxt(data / f"grasshopper_spike_times{i}.txt").astype(int) for i in (1, 2)]


@pytest.fixture
def block(spikes):
    segment = neo.Segment(name="sound")
    for i, times in enumerate(spikes):
        train = neo.SpikeTrain(times / 1e3, units="ms", t_stop=SECONDS * 1e3, name=f"receptor {i}")
        segment.spiketrains.append(train)
    block = neo.Block(name="grasshopper", session_start_time=datetime(2006, 1, 1, tzinfo=timezone.utc))
    block.segments.append(segment)
    segment.block = block
    return block


@pytest.fixture
def neurons(block, tmp_path):
    path = tmp_path / "grasshopper.nix"
    with NixIO(str(path), "ow") as io:
        io.write_block(block)
    return path


@pytest.fixture
def network(tmp_path):
    """Independent units in two layers, of known rates."""
    rng = np.random.default_rng(0)
    rasters = {
        name: SpikeRaster.from_dense(rng.random((40, 5000)) < p) for name, p in (("relu", 0.5), ("out", 0.2))
    }
    return save(Recording(rasters), tmp_path / "net.nwb")


@pytest.mark.parametrize("bin_size", [1, 2.5])
def test_neurons_go_the_way_of_networks(neurons, spikes, bin_size):
    recording = load(neurons, bin_size=bin_size)
    assert recording.n_bins == SECONDS * 1e3 / bin_size
    binned = [np.unique(times // int(1e3 * bin_size)) for times in spikes]
    [layer] = recording.layers
    for row, bins in zip(recording.raster(layer), binned, strict=True):
        np.testing.assert_array_equal(np.flatnonzero(row), bins)
    units = recording.summarize(window=100).units
    for (_, unit), bins in zip(units.iterrows(), binned, strict=True):
        assert unit.n_spikes == len(bins)
        assert unit.mean_firing_rate == pytest.approx(len(bins) / SECONDS)
        assert unit.mean_isi == pytest.approx(np.diff(bins).mean() * bin_size)
        assert unit.cv_isi == pytest.approx(np.diff(bins).std() / np.diff(bins).mean())
        counts = np.bincount(bins // 100, minlength=recording.n_bins // 100)
        assert unit.fano_factor == pytest.approx(counts.var() / counts.mean())
    # a refractory time: far from memoryless
    assert (recording.summarize(window=100).fit_poisson().units["geometric_isi_qvalue"] < 1e-6).all()


def test_bins_of_a_tenth_of_a_millisecond_give_what_elephant_gives_for_the_times_themselves(neurons, spikes):
    units = load(neurons, bin_size=0.1).summarize(window=1000).units
    for (_, unit), times in zip(units.iterrows(), spikes, strict=True):
        train = neo.SpikeTrain(times / 1e3, units="ms", t_stop=SECONDS * 1e3)
        assert unit.cv_isi == pytest.approx(cv(isi(train)), rel=1e-9)
        # Elephant's windows have both their ends: these begin and end between spikes
        edges = np.arange(0, 10_001, 100) - 0.05
        windows = [train.time_slice(max(0, a) * pq.ms, b * pq.ms) for a, b in pairwise(edges)]
        assert unit.fano_factor == pytest.approx(fanofactor(windows), rel=1e-9)


def write_nwb(block, path):
    NWBIO(str(path), mode="w").write_block(block, validate=False)


def write_text(block, path):
    lines = ["\t".join(map(repr, (t.rescale("s").magnitude.tolist()))) for t in block.segments[0].spiketrains]
    path.write_text("\n".join(lines) + "\n")


def write_mat(block, path):
    block.annotations.clear()
    neo.io.NeoMatlabIO(str(path)).write_block(block)


def write_pickle(block, path):
    neo.io.PickleIO(str(path)).write_block(block)


@pytest.mark.filterwarnings("ignore:1 of 1797 spikes are lost:UserWarning")
@pytest.mark.parametrize(
    ("suffix", "write"),
    [("nwb", write_nwb), ("txt", write_text), ("mat", write_mat), ("pkl", write_pickle)],
)
def test_every_format_gives_the_same_neurons(suffix, write, block, neurons, tmp_path):
    path = tmp_path / f"other.{suffix}"
    write(block, path)
    expected = load(neurons, bin_size=1)
    with pytest.raises(ValueError, match=rf"other\.{suffix}.*(bin_size=1|trust=True)"):
        load(path)
    recording = load(path, bin_size=1, trust=True)
    n = min(recording.n_bins, expected.n_bins)  # a text does not tell for how long neurons were observed
    assert n >= 9_990
    [one], [two] = recording.layers, expected.layers
    for row, wanted in zip(recording.raster(one)[:, :n], expected.raster(two)[:, :n], strict=True):
        # Neo reads texts in single precision: a spike on the edge of two bins can fall into the other
        off = np.abs(np.flatnonzero(row) - np.flatnonzero(wanted))
        assert off.max() <= (suffix == "txt")
        assert off.mean() < 0.1


def test_the_table_of_both(network, neurons):
    recordings = {"net": load(network), "grasshopper": load(neurons, bin_size=2)}
    table = compare(recordings)
    assert table["recording"].tolist() == ["net"] * 3 + ["grasshopper"] * 2
    assert table["layer"].tolist() == ["relu", "out", "network", "units", "network"]
    assert set(table["window"]) == {100}
    assert table["n_windows"].tolist() == [50] * 5
    assert table["bin_size"].tolist() == [1, 1, 1, 2, 2]
    assert table["activation_probability_mean"][:2].tolist() == pytest.approx([0.5, 0.2], abs=0.01)
    assert table["relative_fano_factor_mean"][:2].tolist() == pytest.approx([1, 1], abs=0.1)
    assert table["relative_fano_factor_mean"][3] < 0.8
    assert table["geometric_isi_rejected"].tolist() == [0, 0, 0, 1, 1]
    rate = load(neurons, bin_size=2).summarize(100).units["mean_firing_rate"].mean()
    assert table["mean_firing_rate_mean"][4] == rate
    short = compare({"net": recordings["net"].select(trials=0), "few": few_bins()})
    assert set(short["window"]) == {2}  # 30 bins leave no fifty windows
    assert set(compare(recordings, window=7)["window"]) == {7}


def test_spikes_that_share_a_bin_are_counted_also_after_they_were_saved(neurons, spikes, tmp_path):
    """Binned without us: np.unique keeps one spike a bin, np.bincount counts all."""
    with pytest.warns(UserWarning, match="spikes are lost: they share a bin of 10 ms"):
        recording = load(neurons, bin_size=10)
    n_before = sum(map(len, spikes))
    n_kept = sum(len(np.unique(times // 10_000)) for times in spikes)
    again = load(save(recording, tmp_path / "again.nwb"))
    for each in (recording, again):
        row = compare({"x": each}).iloc[0]
        assert row["n_spikes_merged"] == n_before - n_kept > 0
        assert row["mean_firing_rate_mean"] == pytest.approx(n_kept / 2 / SECONDS)
        assert row["unbinned_firing_rate_mean"] == pytest.approx(n_before / 2 / SECONDS)
        assert f"{n_before - n_kept} of {n_before} spikes" in " ".join(each.summarize().remarks)
    one = compare({"x": recording.select(units=[0])}).iloc[0]
    assert np.isnan(one["n_spikes_merged"])  # of one unit alone it is not known
    network = compare({"x": few_bins()}).iloc[0]
    assert network["n_spikes_merged"] == 0
    assert network["unbinned_firing_rate_mean"] == network["mean_firing_rate_mean"]


def test_summaries_of_different_windows_are_compared_with_a_warning(network):
    recording = load(network)
    with pytest.warns(UserWarning, match="the windows differ in bins: a 50, b 20. Compare .* window=20"):
        table = compare({"a": recording.summarize(50), "b": recording.summarize(20)})
    assert table["window"].tolist() == [50] * 3 + [20] * 3


def few_bins():
    return Recording({"relu": SpikeRaster.from_dense(np.eye(30))})


def test_summaries_are_taken_as_they_are(network):
    recording = load(network)
    summary = recording.summarize(50)
    assert summarized({"a": summary, "b": recording})["a"] is summary
    assert compare({"a": summary})["fano_factor_mean"].tolist() == summary.layers["fano_factor_mean"].tolist()
    with pytest.raises(
        ValueError, match="summary 'a' has windows of 50 bins, but 20 are asked for: make it with window=20"
    ):
        summarized({"a": summary, "b": recording}, 20)
    with pytest.raises(ValueError, match="there is no recording to compare"):
        compare({})


def test_the_figure_of_both(network, neurons):
    summaries = summarized({"net": load(network), "grasshopper": load(neurons, bin_size=2)})
    figure = plot.comparison(summaries)
    left, middle, right = figure.axes
    for axes, name in ((middle, "fano_factor"), (right, "cv_isi")):
        for points, summary in zip(axes.collections, summaries.values(), strict=True):
            expected = summary.units[["activation_probability", name]].dropna().to_numpy()
            np.testing.assert_allclose(points.get_offsets(), expected)
        poisson, bernoulli = axes.lines
        p = bernoulli.get_xdata()
        assert (poisson.get_ydata() == (49 / 50 if name == "fano_factor" else 1)).all()
        wanted = 49 / 50 * (1 - p) if name == "fano_factor" else np.sqrt(1 - p)
        np.testing.assert_allclose(bernoulli.get_ydata(), wanted)
    assert [text.get_text() for text in left.get_legend().get_texts()] == [
        "net, bins of 1 ms",
        "grasshopper, bins of 2 ms",
    ]
    assert left.child_axes == []  # no axis in Hz, which would be of one bin size
    assert "Never equate the two" in figure.get_supxlabel()


@pytest.mark.slow
def test_on_the_command_line(network, neurons, tmp_path, capsys):
    figure, table = tmp_path / "both.png", tmp_path / "both.csv"
    command = f"compare {network} {neurons} --output {figure} --table {table}"
    assert main(shlex.split(command)) == 2
    assert "grasshopper.nix was not saved by ann2neo" in capsys.readouterr().err
    assert not figure.exists()
    assert main(shlex.split(f"{command} --bin-size 2")) == 0
    out = capsys.readouterr().out
    assert "net 1 ms, grasshopper 2 ms" in out
    assert NETWORKS_AND_NEURONS in " ".join(out.split())
    expected = compare({"net": load(network), "grasshopper": load(neurons, bin_size=2)})
    pd.testing.assert_frame_equal(pd.read_csv(table), expected, check_dtype=False)
    assert matplotlib.image.imread(figure).shape[1] == 1800
    for other in ("info", "summarize"):
        assert main(shlex.split(f"{other} {neurons} --bin-size 1")) == 0
        assert "Recording(1 layer, 2 units, 10000 bins of 1 ms" in capsys.readouterr().out
    assert main(shlex.split(f"convert {neurons} {tmp_path}/ours.nwb --bin-size 1")) == 0
    assert load(tmp_path / "ours.nwb") == load(neurons, bin_size=1)

"""The demo as a newcomer runs it."""

import re
import subprocess
import sys
from time import perf_counter

import neo
import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import variation
from sklearn.datasets import load_digits

from ann2neo.files.save_load import load
from ann2neo.interop import extras
from ann2neo.study import demo
from ann2neo.study.demo import tables
from ann2neo.study.training import Training

pytestmark = pytest.mark.slow

NETWORKS = ["random", "generalizing", "memorizing"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """What the command prints, where it left its files, and the time it took."""
    folder = tmp_path_factory.mktemp("demo") / "out put"
    folder.mkdir()
    (folder / "random.nwb").write_text("left by an earlier run")
    (folder / "notes.txt").write_text("the user's own")
    started = perf_counter()
    command = [sys.executable, "-m", "ann2neo", "demo", "--output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, encoding="utf-8")
    print(f"\nann2neo demo: {perf_counter() - started:.0f} s")
    assert done.returncode == 0, done.stderr
    return done, folder


@pytest.fixture(scope="module")
def recordings(run):
    return {name: load(run[1] / f"{name}.nwb") for name in NETWORKS}


@pytest.fixture(scope="module")
def networks(run):
    return pd.read_csv(run[1] / "networks.csv", keep_default_na=False).set_index("network")


def test_it_leaves_its_files_and_nothing_else(run):
    own = {"networks.csv", "layers.csv", "units.csv", "overview.png"} | {f"{n}.nwb" for n in NETWORKS}
    assert {path.name for path in run[1].iterdir()} == own | {"notes.txt"}
    assert (run[1] / "overview.png").read_bytes().startswith(b"\x89PNG")


def test_it_writes_no_progress_to_a_pipe_and_warns_of_nothing(run):
    assert run[0].stderr == ""


def test_all_networks_saw_the_same_images_in_one_random_order(recordings):
    _, digits = load_digits(return_X_y=True)
    ids = recordings["random"].stimuli.ids
    assert sorted(ids) == list(range(1797))
    assert not np.array_equal(ids, np.arange(1797))
    for recording in recordings.values():
        assert recording.layers == ["relu1", "relu2", "relu3"]
        assert (recording.n_units, recording.n_bins, recording.n_trials) == (640, 1797, 5)
        np.testing.assert_array_equal(recording.stimuli.ids, ids)
        np.testing.assert_array_equal(recording.labels, digits[ids])


def test_the_three_networks_are_what_their_names_say(networks):
    assert networks.index.tolist() == NETWORKS
    assert networks.loc["memorizing", "training_accuracy"] >= 0.99
    assert networks.loc["memorizing", "held_out_accuracy"] < 0.3
    assert networks.loc["generalizing", "held_out_accuracy"] >= 0.97
    assert networks.loc["random", "held_out_accuracy"] < 0.3
    assert networks["reached"].str.startswith("yes").tolist() == [False, True, True]


def test_the_printed_table_agrees_with_the_csv(run, networks):
    lines = run[0].stdout.splitlines()
    first, last = (i for i, line in enumerate(lines) if line.startswith("───"))
    assert lines[first - 1].split() == ["network", *NETWORKS]
    printed = lines[first + 1 : last]
    assert len(printed) == len(demo.TABLE)
    for line, row in zip(printed, demo.TABLE, strict=True):
        cells = re.split(r"\s{2,}", line.removeprefix(row.label).strip())
        for cell, value in zip(cells, networks[row.name], strict=True):
            if isinstance(value, str):
                assert cell == value
            else:
                shown = float(cell.rstrip("%")) / (100 if cell.endswith("%") else 1)
                decimals = len(cell.rstrip("%").partition(".")[2]) + 2 * cell.endswith("%")
                assert shown == pytest.approx(value, abs=0.501 * 10**-decimals), row.label


def test_the_table_holds_the_statistics_of_the_recordings(recordings, networks):
    for name, recording in recordings.items():
        spikes = np.concatenate([recording.raster(layer) for layer in recording.layers])
        p = spikes.mean(axis=1)
        trials = np.split(spikes[p > 0], np.cumsum([360, 360, 359, 359]), axis=1)
        windows = [t[:, a : a + 20].sum(axis=1) for t in trials for a in range(0, t.shape[1] - 19, 20)]
        fano = variation(windows, axis=0) ** 2 * np.mean(windows, axis=0)
        row = networks.loc[name]
        assert row["mean_firing_rate_mean"] == pytest.approx(1000 * p.mean())
        assert row["mean_firing_rate_var"] == pytest.approx(1e6 * p.var())
        assert row["fano_factor_mean"] == pytest.approx(np.nanmean(fano))
        assert row["dead_fraction"] == np.mean(p == 0)
        assert row["always_on_fraction"] == np.mean(p == 1)


def test_images_in_random_order_pass_as_bernoulli_and_not_as_poisson(networks):
    assert (networks["geometric_isi_rejected"] < 0.05).all()
    assert (networks["binomial_dispersion_rejected"] < 0.05).all()
    assert (networks["exponential_isi_rejected"] > 0.8).all()
    assert networks["relative_fano_factor_mean"].between(0.9, 1.1).all()


def test_the_tables_hold_every_unit_and_every_layer(run, recordings, networks):
    units, layers = (pd.read_csv(run[1] / f"{name}.csv") for name in ("units", "layers"))
    assert len(units) == 3 * 640
    assert units.columns.is_unique
    for name, recording in recordings.items():
        of_network = units[units["network"] == name]
        counts = np.concatenate([recording.raster(layer).sum(axis=1) for layer in recording.layers])
        np.testing.assert_array_equal(of_network["n_spikes"], counts)
    assert layers["layer"].tolist() == ["relu1", "relu2", "relu3", "network"] * 3
    whole = layers[layers["layer"] == "network"].set_index("network")
    rejected = (units["geometric_isi_qvalue"] < 0.05).groupby(units["network"]).sum()
    tested = units["geometric_isi_qvalue"].notna().groupby(units["network"]).sum()
    for name in NETWORKS:
        assert whole.loc[name, "fano_factor_mean"] == pytest.approx(networks.loc[name, "fano_factor_mean"])
        assert whole.loc[name, "geometric_isi_tested"] == tested[name]
        assert whole.loc[name, "geometric_isi_rejected"] == pytest.approx(rejected[name] / tested[name])


def test_what_it_says_of_elephant_is_so(run):
    text = " ".join(run[0].stdout.split())
    difference = re.search(r"largest relative difference from the values above (\S+)\. ", text)
    assert 0 <= float(difference[1]) < 1e-9


def test_neo_opens_its_recordings(run, recordings):
    file = neo.io.NWBIO(str(run[1] / "memorizing.nwb"), mode="r")
    block = file.read_block()
    n_spikes = sum(len(train) for segment in block.segments for train in segment.spiketrains)
    file.close()
    assert n_spikes == recordings["memorizing"].n_spikes


def test_a_goal_that_is_missed_is_said_so():
    data = demo.digits()
    networks = demo.train_networks(data, epochs=1)
    assert networks["memorizing"].training == Training(1, False)
    recordings = demo.record_networks(networks, data)
    summaries = {name: recording.summarize(demo.WINDOW) for name, recording in recordings.items()}
    fits = {name: summary.fit_poisson() for name, summary in summaries.items()}
    table = tables.networks_table(networks, summaries, fits)
    text = tables.as_text(table)
    assert "NO, 1 epochs" in text
    assert "NOTE: the memorizing network did NOT reach its goal of 99% training accuracy" in text


def test_the_images_are_divided_without_overlap():
    data = demo.digits(seed=3)
    both = torch.cat([data.training, data.held_out])
    assert sorted(both.tolist()) == list(range(1797))
    assert not torch.equal(demo.digits(seed=4).training, data.training)
    assert 0 <= data.images.min() < data.images.max() <= 1


def test_a_missing_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == "pynwb" else object())
    with pytest.raises(ImportError, match=r"pynwb: pip install 'ann2neo\[demo\]'"):
        demo.run(tmp_path / "new")
    assert not (tmp_path / "new").exists()

"""Rasters that grow beyond memory: the same spikes, in a file that goes when they go."""

import gc
import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ann2neo.files.save_load import load, save
from ann2neo.model.probe import Probe
from ann2neo.model.recorder import record
from ann2neo.model.runs.partial import RecordingError
from ann2neo.recording import spill
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.time import PseudoTime

MODEL = nn.Sequential(nn.Linear(6, 20), nn.ReLU(), nn.Linear(20, 7), nn.Tanh())
STIMULI = torch.randn(100, 6, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    monkeypatch.setattr(spill, "BINS_IN_TILE", 16)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=8),
    st.integers(1, 20),
    st.sampled_from([None, 0, 5, 100]),
    st.integers(0, 2**32 - 1),
)
def test_pieces_put_together(lengths, n_units, memory, seed):
    """However bins come in, and wherever they are kept, the raster is theirs."""
    dense = np.random.default_rng(seed).random((n_units, sum(lengths))) < 0.4
    own, before = spill.Spill(memory), 0
    for length in lengths:
        bins = dense[:, before : before + length].T
        own.append({"relu": np.packbits(bins, axis=1)}, {"relu": n_units})
        before += length
        raster = raster_of(own.rows("relu"), before)
        np.testing.assert_array_equal(raster.dense(), dense[:, :before])
        np.testing.assert_array_equal(raster.counts, dense[:, :before].sum(axis=1))
    some = np.arange(n_units)[::-2]
    np.testing.assert_array_equal(raster.take(some).dense(), dense[some])
    np.testing.assert_array_equal(raster.dense(-1), dense[-1])
    np.testing.assert_array_equal(raster.in_memory().packed, np.packbits(dense, axis=1))


def raster_of(rows, n_bins):
    n_units = rows.shape[0]
    return SpikeRaster(rows, PseudoTime(1.0, (n_bins,)), np.arange(n_units), (n_units,), np.zeros(n_units))


def spilled(recording):
    return [isinstance(raster.packed, spill.TiledRows) for raster in recording.rasters.values()]


def test_a_recording_beyond_its_memory_is_the_same(tmp_path):
    plain = record(MODEL, STIMULI, batch_size=9, n_trials=3)
    recording = record(MODEL, STIMULI, batch_size=9, n_trials=3, memory="50 B", spill_to=tmp_path)
    assert spilled(plain) == [False, False]
    assert spilled(recording) == [True, True]
    assert {**recording.rasters} == {**plain.rasters}
    assert recording.summarize(10).units.equals(plain.summarize(10).units)
    kept = pickle.loads(pickle.dumps(recording))
    assert kept == recording
    assert spilled(kept) == [False, False]
    opened = load(save(recording, tmp_path / "net.nwb"))
    assert opened == recording
    some = opened.select(units=[3], trials=1)
    assert {**some.rasters} == {**plain.select(units=[3], trials=1).rasters}


def test_its_file_has_no_name_and_goes_with_it(tmp_path):
    recording = record(MODEL, STIMULI, batch_size=10, memory=0, spill_to=tmp_path)
    assert os.listdir(tmp_path) == []
    assert any(str(tmp_path) in file for file in mapped_files())
    del recording
    gc.collect()
    assert not any(str(tmp_path) in file for file in mapped_files())


def mapped_files():
    try:
        with open("/proc/self/maps") as file:
            return [line for line in file if "/" in line]
    except FileNotFoundError:
        pytest.skip("needs Linux")


def test_what_is_spilled_is_what_the_network_gives(tmp_path):
    recording = record(MODEL, STIMULI, batch_size=10, memory=0, spill_to=tmp_path)
    with torch.no_grad():
        spikes = (MODEL[:2](STIMULI) > 0).numpy().T
    np.testing.assert_array_equal(recording.raster("1"), spikes)


def test_what_fits_into_memory_is_not_spilled(tmp_path):
    recording = record(MODEL, STIMULI, memory="1 MB", spill_to=tmp_path)
    assert spilled(recording) == [False, False]
    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_what_was_recorded(tmp_path, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file, self.room = file, 200

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            self.room -= len(bytes(data))
            if self.room < 0:
                self.file.write(bytes(data)[:10])
                raise OSError(28, "No space left on device")
            return self.file.write(data)

    make = spill.tempfile.TemporaryFile
    monkeypatch.setattr(spill.tempfile, "TemporaryFile", lambda **how: Full(make(**how)))
    labels = torch.arange(100)
    with pytest.raises(RecordingError, match="No space left on device") as error:
        record(MODEL, STIMULI, labels=labels, batch_size=10, memory=0, spill_to=tmp_path)
    recording = error.value.recording
    assert 20 < recording.n_bins < 100
    expected = record(MODEL, STIMULI[: recording.n_bins], labels=labels[: recording.n_bins], batch_size=10)
    assert {**recording.rasters} == {**expected.rasters}
    np.testing.assert_array_equal(recording.labels, expected.labels)


def test_bad_arguments(tmp_path):
    for memory in ("much", "4 XB", -1, "1.2.3 GB", None.__class__):
        with pytest.raises(ValueError, match="give a number of bytes, or a text such as '4 GB'"):
            Probe(MODEL, memory=memory)
    with pytest.raises(ValueError, match=r"spill_to='.*nowhere' is not a folder that can be written to"):
        Probe(MODEL, memory=0, spill_to=tmp_path / "nowhere")
    with pytest.raises(ValueError, match="into= keeps no spikes: leave out memory="):
        Probe(MODEL, memory=0, into=[])

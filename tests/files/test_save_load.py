"""Recording → file → recording in every format; files as Neo opens them; files that are no good."""

import logging
import os
import pickle
import sys
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import h5py
import neo
import numpy as np
import pynwb
import pytest
import quantities as pq
from hypothesis import given, settings
from neo.test.tools import assert_neo_object_is_compliant

from ann2neo.files import deflate
from ann2neo.files.save_load import SUFFIXES, load, save
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime
from helpers.strategies import recordings

NEO_IO = {
    ".nwb": neo.io.NWBIO,
    ".nix": neo.io.NixIO,
    ".pkl": neo.io.PickleIO,
    ".mat": neo.io.NeoMatlabIO,
}
# a single train costs 20 ms in NIX, a single file 200 ms in NWB
N_EXAMPLES = {".nwb": 8, ".nix": 3, ".pkl": 40, ".mat": 30}

every_format = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture
def recording():
    dense = np.random.default_rng(0).random((9, 11)) < 0.4
    dense[4] = False
    time = PseudoTime(0.5, (6, 5))
    rasters = {
        "conv": SpikeRaster.from_dense(dense[:8], time=time, shape=(2, 2, 2), threshold=np.arange(8) / 4),
        "fc": SpikeRaster.from_dense(dense[8:], time=time, units=[7], shape=(9,), threshold=np.inf),
    }
    stimuli = Stimuli.in_order(6, n_steps=2, labels=list("abcabc"), ids=range(20, 26))
    annotations = {"model": "net", "recorded_at": "2024-02-29T12:30:00+02:00", "nested": {"a": [1, None]}}
    return Recording(rasters, stimuli, annotations)


@pytest.fixture
def small():
    """One that is written and read fast."""
    return Recording({"relu": SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 1]])}, None, {"n": 3})


def open_with_neo(path):
    io = NEO_IO[path.suffix](str(path))
    block = io.read_block()
    if hasattr(io, "close"):
        io.close()
    return block


def open_files():
    """Return what this process has open, by the only means that sees every library."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        pytest.skip("needs Linux")
    return {os.readlink(d) for d in descriptors.iterdir() if d.is_symlink()}


def assert_neo_sees(block, recording):
    """Check names, segments and times against the raster itself, not against to_neo."""
    assert_neo_object_is_compliant(block)
    assert block.name == str(recording.annotations.get("model") or "recording")
    dense = np.concatenate([recording.raster(layer) for layer in recording.layers])
    names = [f"{layer}[{u}]" for layer, r in recording.rasters.items() for u in r.units.tolist()]
    bin_size, edges = recording.time.bin_size, recording.time.trial_edges
    assert [segment.name for segment in block.segments] == [f"trial {k}" for k in range(len(edges) - 1)]
    for segment, first, last in zip(block.segments, edges[:-1], edges[1:], strict=True):
        assert [train.name for train in segment.spiketrains] == names
        for train, row in zip(segment.spiketrains, dense, strict=True):
            centres = (np.flatnonzero(row[first:last]) + first + 0.5) * bin_size
            np.testing.assert_allclose(train.rescale("ms").magnitude, centres, rtol=1e-12)
            ends = [train.t_start.rescale("ms").item(), train.t_stop.rescale("ms").item()]
            np.testing.assert_allclose(ends, [first * bin_size, last * bin_size], rtol=1e-12)


@every_format
def test_there_and_back(suffix):
    """Law 3: recording → file → recording is the identity, and Neo opens the file."""

    @settings(deadline=None, max_examples=N_EXAMPLES[suffix])
    @given(recordings(max_layers=2, max_units=3, max_bins=12))
    def check(recording):
        with tempfile.TemporaryDirectory() as folder:
            path = save(recording, f"{folder}/recording{suffix}")
            assert load(path, trust=True) == recording
            assert_neo_sees(open_with_neo(path), recording)

    check()


@every_format
def test_a_silent_recording_without_stimuli(suffix, tmp_path):
    silent = Recording({"relu": SpikeRaster.from_dense(np.zeros((1, 3)))})
    path = save(silent, tmp_path / f"silent{suffix.upper()}")
    assert load(path, trust=True) == silent


@pytest.mark.parametrize("bin_size", [0.3, 1 / 3, 1e-3, 1000.0])
def test_nwb_keeps_late_bins_although_it_counts_in_seconds(bin_size, tmp_path):
    dense = np.zeros((1, 200_001), bool)
    dense[0, -2000:] = np.random.default_rng(1).random(2000) < 0.5
    late = Recording({"relu": SpikeRaster.from_dense(dense, time=PseudoTime(bin_size, (100_000, 100_001)))})
    assert load(save(late, tmp_path / "late.nwb")) == late


def test_nwb_is_valid_and_complete(recording, tmp_path):
    path = save(recording, tmp_path / "net.nwb")
    assert list(pynwb.validate(path=path)) == []
    with pynwb.NWBHDF5IO(path, "r") as io:
        file = io.read()
        units, trials, stimuli = (
            table.to_dataframe() for table in (file.units, file.trials, file.intervals["stimuli"])
        )
        moment = datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=2)))
        assert file.session_start_time == moment
    assert list(units["unit"]) == [u for u in [*range(8), 7] for _ in range(2)]
    assert list(units["layer"]) == ["conv"] * 16 + ["fc"] * 2
    assert list(units["channel"]) == [0] * 8 + [1] * 8 + [-1] * 2
    assert list(units["threshold"]) == [k / 4 for k in range(8) for _ in range(2)] + [np.inf] * 2
    assert list(units["segment"]) == ["trial 0", "trial 1"] * 9
    assert trials[["start_time", "stop_time"]].to_numpy().tolist() == [[0, 0.003], [0.003, 0.0055]]
    assert list(stimuli["label"]) == list("abcabc")
    assert list(stimuli["stimulus_id"]) == list(range(20, 26))
    np.testing.assert_allclose(stimuli["start_time"], np.arange(0, 12, 2) * 0.5e-3)
    np.testing.assert_allclose(stimuli["stop_time"], [1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 5.5e-3])


@pytest.mark.parametrize("labels", [None, [1, 2, 3], [0.5, np.nan, np.inf], ["", "ä", "🧠"]])
def test_nwb_is_valid_with_any_labels_and_without_spikes(labels, tmp_path):
    raster = SpikeRaster.from_dense(np.zeros((2, 3)))
    path = save(Recording({"relu": raster}, Stimuli.in_order(3, labels=labels)), tmp_path / "net.nwb")
    assert list(pynwb.validate(path=path)) == []


def test_nwb_finds_other_columns_for_names_of_its_own(tmp_path):
    own = ["id", "id_", "name", "description", "columns", "tags", "timeseries", "object_id"]
    more = {name: [f"{name} {i}" for i in range(3)] for name in own}
    raster = SpikeRaster.from_dense(np.zeros((2, 3)))
    recording = Recording({"relu": raster}, Stimuli.in_order(3, array_annotations=more))
    path = save(recording, tmp_path / "net.nwb")
    assert load(path) == recording
    assert list(pynwb.validate(path=path)) == []
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().intervals["stimuli"]
        columns = {column.description: column.data[:].tolist() for column in table.columns}
    for name, values in more.items():
        assert columns[f"annotation {name} of the stimulus"] == values


@every_format
def test_text_that_hdf5_cannot_hold(suffix, tmp_path):
    """File names that are no UTF-8 come from the system as half surrogate pairs."""
    odd = ["\udce9.png", "a\0b", "é"]
    raster = SpikeRaster.from_dense(np.zeros((1, 3)))
    recording = Recording({"relu": raster}, Stimuli.in_order(3, labels=odd, array_annotations={"file": odd}))
    assert load(save(recording, tmp_path / f"net{suffix}"), trust=True) == recording


@pytest.mark.parametrize("recorded_at", [None, "yesterday", 7, "1970-01-01", "1970-01-01T01:00:00+01:00"])
def test_nwb_knows_no_now(recorded_at, recording, tmp_path):
    recording = replace(recording, annotations={"recorded_at": recorded_at})
    seen = set()
    for name in ("a.nwb", "b.nwb"):
        with h5py.File(save(recording, tmp_path / name)) as file:
            start = datetime.fromisoformat(file["session_start_time"].asstr()[()])
            seen.add((file["identifier"].asstr()[()], start))
    assert [start for _, start in seen] == [datetime(1970, 1, 1, tzinfo=timezone.utc)]


def test_nwb_tells_when_its_spikes_were_changed(recording, tmp_path):
    path = save(recording, tmp_path / "net.nwb")
    with h5py.File(path, "a") as file:
        times = file["units/spike_times"]
        silent = np.flatnonzero(~recording.raster("conv")[0])[0]
        times[0] = (silent + 0.5) * 0.5e-3 if silent < 6 else 0.25e-3
    changed = load(path)
    with pytest.raises(
        ValueError, match=r"net\.nwb is damaged: .* unit conv\[0\] are not those that were saved"
    ):
        changed.raster("conv")
    assert changed.select(layers="fc") == recording.select(layers="fc")  # only what is asked for is read


def test_pickle_opens_without_ann2neo(recording, tmp_path):
    modules = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module.split(".")[0])
            return super().find_class(module, name)

    with save(recording, tmp_path / "net.pkl").open("rb") as file:
        assert isinstance(Unpickler(file).load(), neo.Block)
    assert "neo" in modules
    assert "ann2neo" not in modules


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickle_is_not_opened_without_trust(tmp_path):
    path, went_off = tmp_path / "bomb.pkl", tmp_path / "went_off"
    path.write_bytes(pickle.dumps(Bomb(went_off)))
    with pytest.raises(ValueError, match=r"runs any code .* trust=True"):
        load(path)
    assert not went_off.exists()
    with pytest.raises(ValueError, match="holds a NoneType, not a Block"):
        load(path, trust=True)
    assert went_off.exists()


@every_format
def test_an_existing_file_is_replaced_only_when_told(suffix, small, tmp_path):
    path = tmp_path / f"net{suffix}"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=rf"net\{suffix} exists: give overwrite=True"):
        save(small, path)
    assert path.read_text() == "precious"
    assert load(save(small, path, overwrite=True), trust=True) == small
    other = tmp_path / "other"
    other.touch()
    assert path.stat().st_mode == other.stat().st_mode


@every_format
@pytest.mark.parametrize("interruption", [OSError("disk full"), KeyboardInterrupt()])
def test_an_interrupted_save_leaves_what_was_there(suffix, interruption, small, tmp_path, monkeypatch):
    path = save(small, tmp_path / f"net{suffix}")
    before, opened = path.read_bytes(), open_files()

    def interrupt(*args, **kwargs):
        raise interruption

    halfway = {
        ".nwb": (pynwb.NWBHDF5IO, "write_builder"),
        ".nix": (neo.io.NixIO, "_write_group"),
        ".pkl": (pickle, "dump"),
        ".mat": (neo.io.NeoMatlabIO, "create_struct_from_obj"),
    }
    for place in (halfway[suffix], (os, "fsync")):
        with monkeypatch.context() as patch:
            patch.setattr(*place, interrupt)
            for target in (path, tmp_path / f"new{suffix}"):
                with pytest.raises(type(interruption)):
                    save(small, target, overwrite=True)
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_bytes() == before
    assert open_files() == opened


@every_format
def test_a_damaged_file_is_named(suffix, small, tmp_path):
    whole = save(small, tmp_path / f"net{suffix}").read_bytes()
    path, opened = tmp_path / f"damaged{suffix}", open_files()
    n = len(whole)
    damaged = [whole[:k] for k in (0, 1, 8, 100, n // 4, n // 2, n - 50, n - 8)]
    first = 128 if suffix == ".mat" else 0  # before it, MATLAB has a comment
    damaged += [whole[:first] + b"\xff" + whole[first + 1 :], b"not such a file at all\n" * 30]
    for contents in damaged:
        path.write_bytes(contents)
        with pytest.raises(ValueError, match=rf"damaged\{suffix} ") as error:
            load(path, trust=True)
        assert error.value.__cause__ is not None
    assert open_files() == opened


def save_foreign(path):
    """Save one spike train as Neo does, without ann2neo."""
    segment = neo.Segment(name="segment")
    segment.spiketrains.append(neo.SpikeTrain([1, 2, 3] * pq.ms, t_stop=5 * pq.ms, name="train"))
    block = neo.Block(name="foreign", session_start_time=datetime(2020, 1, 1, tzinfo=timezone.utc))
    if path.suffix == ".mat":
        block.annotations.clear()
    block.segments.append(segment)
    segment.block = block
    nwb = path.suffix == ".nwb"
    io = NEO_IO[path.suffix](str(path), **({"mode": "w"} if nwb else {}))
    io.write_block(block, **({"validate": False} if nwb else {}))
    if hasattr(io, "close"):
        io.close()


@every_format
def test_a_file_from_elsewhere_is_binned_when_told_how(suffix, tmp_path, monkeypatch):
    path = tmp_path / f"foreign{suffix}"
    if suffix == ".nix":  # dates are written in the local time zone's shortest form
        monkeypatch.setenv("TZ", "UTC")
    save_foreign(path)
    opened = open_files()
    with pytest.raises(ValueError, match=rf"foreign\{suffix} was not saved by ann2neo, .* bin_size=1 \(ms\)"):
        load(path, trust=True)
    assert open_files() == opened
    recording = load(path, bin_size=0.5 * pq.ms, trust=True)
    assert np.flatnonzero(recording.raster("units")[0]).tolist() == [2, 4, 6]
    assert recording.n_bins == 10
    assert open_files() == opened


def test_a_matlab_file_without_block(tmp_path, caplog):
    import scipy.io

    path = tmp_path / "matrix.mat"
    scipy.io.savemat(path, {"x": np.eye(3)})
    with pytest.raises(
        ValueError, match=r"matrix\.mat holds no spike trains \(neo\.io\.NeoMatlabIO .* finds no spike trains"
    ):
        load(path, bin_size=1)
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_paths_that_lead_nowhere(small, tmp_path):
    with pytest.raises(ValueError, match=r"unknown suffix '.hdf5': give one of .nwb, .nix, .pkl, .mat"):
        save(small, tmp_path / "net.hdf5")
    with pytest.raises(FileNotFoundError, match="net"):
        load(tmp_path / "net", bin_size=1)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*missing"):
        save(small, tmp_path / "missing" / "net.mat")
    for suffix in SUFFIXES:
        with pytest.raises(FileNotFoundError, match="net"):
            load(tmp_path / f"net{suffix}")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("writer", "reader", "extra"),
    [("pynwb", "h5py", "nwb"), ("nixio", "nixio", "nix")],
)
def test_a_missing_extra_is_named(writer, reader, extra, small, tmp_path, monkeypatch):
    path = save(small, tmp_path / f"net.{extra}")
    monkeypatch.setitem(sys.modules, writer, None)
    monkeypatch.setitem(sys.modules, reader, None)
    with pytest.raises(ImportError, match=rf"needs {reader}: pip install 'ann2neo\[{extra}\]'"):
        load(path)
    with pytest.raises(ImportError, match=rf"needs {writer}: pip install 'ann2neo\[{extra}\]'"):
        save(small, path, overwrite=True)
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("first", ["isal", "zlib"])
def test_nwb_with_and_without_isal(first, tmp_path, monkeypatch):
    """Each library writes what the other reads, and HDF5 itself reads both."""
    pytest.importorskip("isal")
    dense = np.random.default_rng(0).random((50, 2000)) < 0.3
    recording = Recording({"relu": SpikeRaster.from_dense(dense)})
    path = tmp_path / "net.nwb"

    def only(library):
        monkeypatch.undo()
        deflate.library.cache_clear()
        if library == "zlib":
            monkeypatch.setitem(sys.modules, "isal", None)
        assert deflate.library().__name__ == {"isal": "isal.isal_zlib", "zlib": "zlib"}[library]

    only(first)
    save(recording, path)
    with h5py.File(path) as file:
        times = file["units/spike_times"]
        assert times.compression == "gzip"
        np.testing.assert_allclose(times[:], (np.nonzero(dense)[1] + 0.5) / 1e3, rtol=1e-12)
    for library in ("zlib", "isal"):
        only(library)
        assert load(path) == recording


def test_nwb_files_come_back_through_neo(tmp_path):
    raster = SpikeRaster.from_dense([[1, 0, 1, 1], [0, 0, 0, 1]], time=PseudoTime(0.3, (2, 2)))
    recording = Recording({"relu": raster}, annotations={"model": "net"})
    path = save(recording, tmp_path / "net.nwb")
    reader = neo.io.NWBIO(str(path), mode="r")
    assert Recording.from_neo(reader.read_block()) == recording
    reader.close()


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "net.nwb").mkdir()
    recording = Recording({"relu": SpikeRaster.from_dense([[1]])})
    with pytest.raises(IsADirectoryError, match="is a folder"):
        save(recording, tmp_path / "net.nwb", overwrite=True)


def test_a_long_nix_save_is_announced_before_it_begins(small, tmp_path, monkeypatch):
    monkeypatch.setattr("ann2neo.files.save_load.SECONDS_A_NIX_TRAIN", 60.0)
    with pytest.warns(UserWarning, match=r"nixio takes some 2 min for 2 trains: save as \.nwb") as said:
        save(small, tmp_path / "net.nix")
    assert said[0].filename == __file__

"""Spikes in files that other tools wrote, opened by `load`: what comes in, and what is refused."""

import os
import pickle
from datetime import datetime, timezone
from pathlib import Path

import h5py
import neo
import numpy as np
import pynwb
import pytest
import quantities as pq

from ann2neo.files.save_load import load, save
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording

TIMES = [[1.2, 3.4, 7.7], [0.3, 5.5], [9.9]]  # ms, of which no two share a bin of 1 ms
BINS = [[1, 3, 7], [0, 5], [9]]


def segment_of(times=TIMES, stops=(12.0,) * 3):
    segment = neo.Segment(name="segment")
    for i, (of_train, stop) in enumerate(zip(times, stops, strict=True)):
        segment.spiketrains.append(neo.SpikeTrain(of_train * pq.ms, t_stop=stop * pq.ms, name=f"neuron {i}"))
    return segment


def block_of(*segments, name="foreign"):
    block = neo.Block(name=name)
    for segment in segments:
        block.segments.append(segment)
    return block


def write_nix(path, *blocks):
    with neo.io.NixIO(str(path), "ow") as io:
        io.write_all_blocks(list(blocks))


def nwb(path, trains, *, intervals=None, **more):
    """Save spike times in s as pynwb does, without Neo: no names, segments or blocks."""
    start = datetime(2020, 1, 1, tzinfo=timezone.utc)
    file = pynwb.NWBFile("a session", "an identifier", start, keywords=["real"], **more)
    for i, times in enumerate(trains):
        file.add_unit(
            spike_times=times,
            **({} if intervals is None else {"obs_intervals": np.array(intervals[i], float)}),
        )
    with pynwb.NWBHDF5IO(path, "w") as io:
        io.write(file)
    return path


def bins(recording, layer="units"):
    return [np.flatnonzero(row).tolist() for row in recording.raster(layer)]


@pytest.mark.parametrize("suffix", [".nix", ".h5", ".mat", ".pkl", ".pickle"])
def test_formats_that_neo_writes(suffix, tmp_path):
    path, block = tmp_path / f"neurons{suffix}", block_of(segment_of())
    if suffix in (".nix", ".h5"):
        write_nix(path, block)
    else:
        (neo.io.NeoMatlabIO if suffix == ".mat" else neo.io.PickleIO)(str(path)).write_block(block)
    before = path.read_bytes()
    recording = load(path, bin_size=1, trust=True)
    assert bins(recording) == BINS
    assert recording.n_bins == 12
    assert recording.stimuli is None
    assert np.isnan(recording.units["threshold"]).all()
    assert path.read_bytes() == before  # opened to read only


def test_text_is_observed_until_the_last_spike_of_any(tmp_path):
    path = tmp_path / "neurons.txt"
    # not by Neo: its writer adds units, which its reader does not understand
    path.write_text("".join("\t".join(f"{t / 1e3:g}" for t in times) + "\n" for times in TIMES))
    with pytest.warns(
        UserWarning, match="1 of 6 spikes are lost: they share a bin of 1 ms .* or lie outside"
    ):
        recording = load(path, bin_size=1)
    assert bins(recording) == [[1, 3, 7], [0, 5], []]
    assert recording.n_bins == 9


def test_raw_formats_and_several_blocks(tmp_path):
    """Neo's ExampleIO makes up two blocks, as electrode systems' readers do, with signals beside spikes."""
    path = tmp_path / "made_up.fake"
    path.touch()
    with pytest.raises(ValueError, match=r"fake holds 2 Blocks: choose one, for example block=0"):
        load(path, bin_size=1)
    with pytest.raises(ValueError, match="holds 2 Blocks but no Block 2"):
        load(path, bin_size=1, block=2)
    second = load(path, bin_size=0.5, block=1)
    whole = neo.io.ExampleIO(str(path)).read_block(1)
    assert second.n_trials == len(whole.segments)
    times = [t.rescale("ms").magnitude for t in whole.segments[0].spiketrains]
    start = whole.segments[0].spiketrains[0].t_start.rescale("ms").item()
    n_bins = second.time.trial_bins[0]
    for row, of_train in zip(second.raster("units")[:, :n_bins], times, strict=True):
        expected = np.unique(np.floor((of_train - start) / 0.5 + 1e-9).astype(int))
        assert np.flatnonzero(row).tolist() == expected[expected < n_bins].tolist()


def test_two_blocks_in_nix(tmp_path):
    path = tmp_path / "two.nix"
    write_nix(path, block_of(segment_of(), name="first"), block_of(segment_of(TIMES[::-1]), name="second"))
    with pytest.raises(ValueError, match=r"two\.nix holds 2 Blocks.*'first'.*'second'"):
        load(path, bin_size=1)
    assert bins(load(path, bin_size=1, block=0)) == BINS
    assert bins(load(path, bin_size=1, block=1)) == BINS[::-1]


def test_trains_that_end_at_different_times(tmp_path):
    path = tmp_path / "uneven.nix"
    write_nix(path, block_of(segment_of(stops=(8.0, 12.0, 12.0))))
    with pytest.warns(UserWarning, match="1 spikes are left out: not all neurons"):
        recording = load(path, bin_size=1)
    assert bins(recording) == [[1, 3, 7], [0, 5], []]
    assert recording.n_bins == 8


# -- NWB that neither ann2neo nor Neo wrote ----------------------------------------------------------


def test_nwb_of_pynwb_without_intervals(tmp_path):
    trains = [np.array(times) / 1e3 for times in [*TIMES, [10.5]]]
    path = nwb(tmp_path / "real.nwb", trains)
    with pytest.warns(UserWarning, match="1 of 7 spikes"):  # the last one ends the recording
        recording = load(path, bin_size=1)
    assert bins(recording) == [*BINS, []]


def test_nwb_intervals_of_all_units_are_trials(tmp_path):
    trains = [np.array([0.0012, 0.0034, 0.0217]), np.array([0.0005, 0.0265])]
    both = [[[0, 0.01], [0.02, 0.03]]] * 2
    recording = load(nwb(tmp_path / "real.nwb", trains, intervals=both), bin_size=1)
    assert recording.time.trial_bins == (10, 10)
    assert bins(recording) == [[1, 3, 11], [0, 16]]


def test_nwb_intervals_that_differ(tmp_path):
    trains = [np.array([0.0012, 0.0075]), np.array([0.0035, 0.0165])]
    intervals = [[[0, 0.004], [0.006, 0.01]], [[0, 0.02]]]
    path = nwb(tmp_path / "real.nwb", trains, intervals=intervals)
    with (
        pytest.warns(UserWarning, match="gaps count as silence"),
        pytest.warns(UserWarning, match="1 spikes are left out"),
    ):
        recording = load(path, bin_size=1)
    assert bins(recording) == [[1, 7], [3]]
    assert recording.n_bins == 10


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("intervals", [None, [[[0, 0.01]]] * 2])
def test_spike_times_that_are_no_times_are_refused(tmp_path, wrong, intervals):
    trains = [np.array([0.0012, 0.005]), np.array([0.0012, wrong, 0.005])]
    path = nwb(tmp_path / "real.nwb", trains, intervals=intervals)
    with pytest.raises(ValueError, match=r"real\.nwb.*1 of 3 spike times of unit 1 are NaN or infinite"):
        load(path, bin_size=1)
    segment = segment_of()
    segment.spiketrains[2][0] = np.nan * pq.ms  # Neo itself refuses infinity
    with pytest.raises(ValueError, match="1 of 1 spike times of neuron 2 are NaN"):
        Recording.from_neo(block_of(segment), bin_size=1)


def test_nwb_spikes_outside_their_intervals(tmp_path):
    path = nwb(tmp_path / "real.nwb", [np.array([0.0012, 0.05])], intervals=[[[0, 0.01]]])
    with pytest.warns(UserWarning, match="1 spikes are left out: they lie outside the intervals"):
        assert bins(load(path, bin_size=1)) == [[1]]


def test_nwb_by_neo_keeps_its_segments(tmp_path):
    path = tmp_path / "neo.nwb"
    block = block_of(segment_of(), segment_of(TIMES))
    block.session_start_time = datetime(2020, 1, 1, tzinfo=timezone.utc)
    block.annotate(session_start_time=block.session_start_time)
    for i, segment in enumerate(block.segments):
        segment.name, segment.block = f"trial {i}", block
    io = neo.io.NWBIO(str(path), mode="w")
    io.write_block(block, validate=False)
    io.close()
    recording = load(path, bin_size=1)
    assert recording.time.trial_bins == (12, 12)
    assert bins(recording) == [of + [12 + k for k in of] for of in BINS]


# -- what is refused ---------------------------------------------------------------------------------


def test_bins_have_to_be_said(tmp_path):
    path = tmp_path / "neurons.txt"
    path.write_text("0.1\t0.2\n")
    with pytest.raises(ValueError, match=r"neurons\.txt was not saved by ann2neo, .* bin_size=1 \(ms\)"):
        load(path)
    with pytest.raises(ValueError, match=r"bin_size"):
        load(path, bin_size=-1)


@pytest.mark.parametrize("suffix", [".nwb", ".mat"])
def test_our_files_keep_their_bins(suffix, tmp_path):
    recording = Recording({"relu": SpikeRaster.from_dense([[1, 0, 1]])})
    path = save(recording, tmp_path / f"ours{suffix}")
    assert load(path, bin_size=1 * pq.ms, block=0) == recording
    with pytest.raises(ValueError, match=r"bin_size=2: ann2neo saved .* in bins of 1 ms"):
        load(path, bin_size=2)
    with pytest.raises(ValueError, match=r"holds (one Block|1 Blocks)"):
        load(path, block=1)


def test_unknown_suffix(tmp_path):
    path = tmp_path / "spikes.xyz"
    path.touch()
    with pytest.raises(ValueError, match=r"spikes\.xyz: unknown suffix '\.xyz': .*Recording\.from_neo"):
        load(path, bin_size=1)


def test_one_file_of_a_format_that_is_a_folder(tmp_path):
    path = tmp_path / "spike_times.npy"
    path.touch()
    with pytest.raises(
        ValueError, match=r"Neo's readers for the suffix '\.npy' .* read the whole folder: name that"
    ):
        load(path, bin_size=1)


def test_no_spike_trains(tmp_path):
    write_nix(tmp_path / "empty.nix", block_of(neo.Segment()))
    nwb(tmp_path / "empty.nwb", [])
    for name in ("empty.nix", "empty.nwb"):
        with pytest.raises(ValueError, match=rf"{name} holds no spike trains"):
            load(tmp_path / name, bin_size=1)


def test_missing_files_and_empty_folders(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"missing\.nix"):
        load(tmp_path / "missing.nix", bin_size=1)
    (tmp_path / "folder").mkdir()
    with pytest.raises(ValueError, match="folder: unknown folder"):
        load(tmp_path / "folder", bin_size=1)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [".pkl", ".pickle", ".PKL"])
def test_pickles_are_not_opened_without_trust(suffix, tmp_path):
    path, went_off = tmp_path / f"bomb{suffix}", tmp_path / "went_off"
    path.write_bytes(pickle.dumps(Bomb(went_off)))
    with pytest.raises(ValueError, match=r"runs any code .* trust=True"):
        load(path, bin_size=1)
    assert not went_off.exists()


def test_no_file_stays_open(tmp_path):
    if not Path("/proc/self/fd").exists():
        pytest.skip("needs Linux")
    path = nwb(tmp_path / "real.nwb", [np.array([0.001, 0.002])], intervals=[[[0, 0.01]]])
    load(path, bin_size=1)
    names = {os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()}
    assert str(path) not in names
    with h5py.File(path, "a") as file:  # nothing locks it
        assert "units" in file

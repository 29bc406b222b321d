"""What goes wrong with files: killed saves, full disks, damage, two writers at once, absurd sizes, pickles.

What may crash, hang, or take all memory happens in processes of their own.
"""

import multiprocessing
import os
import pickle
import random
import re
import resource
import signal
import sys
import tempfile
import time
import zlib
from functools import cache, partial
from multiprocessing import forkserver
from pathlib import Path

import h5py
import neo
import numpy as np
import pytest
import scipy.io
import torch
from torch import nn

from ann2neo.cli import main
from ann2neo.files.save_load import SUFFIXES, load, save
from ann2neo.files.seal import fingerprint
from ann2neo.interop.description import NOTES
from ann2neo.model.recorder import record
from ann2neo.model.runs.partial import RecordingError
from ann2neo.recording import spill
from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux"),
]
every_format = pytest.mark.parametrize("suffix", SUFFIXES)
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["test_faults", "pynwb", "nixio", "isal"])


@pytest.fixture(scope="module", autouse=True)
def imported_once():
    """Start the process that others are forked from where it finds this file to import it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        forkserver.ensure_running()


def of_size(n_units, n_bins=64, seed=0):
    """Return a recording in two trials, with labels, thresholds and annotations."""
    dense = np.random.default_rng(seed).random((n_units, n_bins)) < 0.4
    raster = SpikeRaster.from_dense(
        dense, time=PseudoTime(0.5, (n_bins - n_bins // 3, n_bins // 3)), threshold=np.arange(n_units) / 4
    )
    labels = [f"class {i % 7}" for i in range(n_bins)]
    return Recording({"relu": raster}, Stimuli.in_order(n_bins, labels=labels), {"model": "net", "n": seed})


def _answer(channel, function, args):
    try:
        channel.send(("gave", function(*args)))
    except BaseException as error:
        channel.send(("raised", error))


def start(function, *args):
    """Run a function in a process of its own; returns it and where its answer comes from."""
    receive, send = PROCESSES.Pipe(duplex=False)
    process = PROCESSES.Process(target=_answer, args=(send, function, args))
    process.start()
    send.close()
    return process, receive


def answer(process, receive, timeout=60):
    """Return ("gave", value), ("raised", error) or ("died", exit code)."""
    found = None
    try:
        if receive.poll(timeout):
            found = receive.recv()
    except EOFError:
        pass
    if found is None and process.is_alive():
        process.join(1)
        if process.is_alive():
            process.kill()
    process.join()
    receive.close()
    return found or ("died", process.exitcode)


def elsewhere(function, *args):
    return answer(*start(function, *args))


def save_forever(recording, path):
    while True:
        save(recording, path, overwrite=True)


N_UNITS = {".nwb": 400, ".nix": 4, ".pkl": 500, ".mat": 60}
"""As many as take some tenths of a second to be written."""


@every_format
def test_a_killed_save_leaves_what_was_there(suffix, tmp_path):
    old, new = of_size(3, seed=1), of_size(N_UNITS[suffix], seed=2)
    path = save(old, tmp_path / f"net{suffix}")
    delays, halfway = random.Random(3), 0
    for _ in range(5):
        before = set(tmp_path.glob(".ann2neo-*"))
        process, receive = start(save_forever, new, path)
        until = time.monotonic() + 20
        while set(tmp_path.glob(".ann2neo-*")) == before and time.monotonic() < until:
            time.sleep(0.002)
        time.sleep(delays.random() * 0.3)
        process.kill()
        assert answer(process, receive) == ("died", -signal.SIGKILL)
        halfway += set(tmp_path.glob(".ann2neo-*")) != before
        assert load(path, trust=True) in (old, new)
    assert halfway > 2
    assert load(save(old, path, overwrite=True), trust=True) == old


def save_with_room(n_bytes, recording, path):
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    save(recording, path, overwrite=True)


@every_format
@pytest.mark.parametrize("share", [0.3, 0.99])
def test_a_full_disk(suffix, share, tmp_path):
    old, new = of_size(2, seed=1), of_size(max(3, N_UNITS[suffix] // 4), seed=2)
    room = int(share * save(new, tmp_path / f"sized{suffix}").stat().st_size)
    os.remove(tmp_path / f"sized{suffix}")
    path = save(old, tmp_path / f"net{suffix}")
    before = path.read_bytes()
    for target in (path, tmp_path / f"new{suffix}"):
        outcome, error = elsewhere(save_with_room, room, new, target)
        if outcome == "died" and suffix in (".nwb", ".nix"):
            continue  # the HDF5 library may end the process when it cannot write: what was there is kept
        assert outcome == "raised", error
        assert isinstance(error, OSError)
        assert f"{target} could not be saved (" in str(error)
        assert "make room or give another folder" in str(error)
    visible = [name for name in os.listdir(tmp_path) if outcome == "raised" or name[0] != "."]
    assert visible == [path.name]
    assert path.read_bytes() == before


MODEL = nn.Sequential(nn.Linear(6, 20), nn.ReLU())
STIMULI = torch.randn(200, 6, generator=torch.Generator().manual_seed(1))


def spill_with_room(n_bytes, folder, model, stimuli):
    spill.BINS_IN_TILE = 16
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))
    try:
        record(model, stimuli, batch_size=10, memory=0, spill_to=folder)
    except RecordingError as error:
        return str(error), error.recording.raster("1")


def test_a_full_disk_while_recording(tmp_path):
    outcome, found = elsewhere(spill_with_room, 200, tmp_path, MODEL, STIMULI.clone())
    assert outcome == "gave", found
    message, raster = found
    assert "File too large" in message
    with torch.no_grad():
        expected = (MODEL(STIMULI) > 0).numpy().T
    assert 20 < raster.shape[1] < 200
    np.testing.assert_array_equal(raster, expected[:, : raster.shape[1]])


def save_as_nobody(recording, path, *, told):
    if os.getuid() == 0:  # who may write everywhere
        os.setgid(65534)
        os.setuid(65534)
    if not told:  # some file systems say that one may write, and then refuse
        os.access = lambda *args: True
    save(recording, path, overwrite=True)


@every_format
@pytest.mark.parametrize("told", [True, False])
def test_a_folder_that_is_read_only(suffix, told):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = save(of_size(1), folder / f"net{suffix}")
        before = path.read_bytes()
        folder.chmod(0o555)
        outcome, error = elsewhere(partial(save_as_nobody, told=told), of_size(2), path)
        folder.chmod(0o755)
        assert outcome == "raised"
        assert isinstance(error, PermissionError)
        assert str(path) in str(error)
        assert ("is not writable" if told else "give another folder") in str(error)
        assert os.listdir(folder) == [path.name]
        assert path.read_bytes() == before


def outcomes(path, versions, recording):
    """Return what becomes of each version of a file when all is read; the process may die of one."""
    found = []
    for version in versions:
        path.write_bytes(version)
        signal.alarm(20)  # the library may loop where Python cannot be interrupted
        try:
            found.append("the same" if load(path, trust=True) == recording else "another recording")
        except ValueError as error:
            found.append("named" if path.name in str(error) else f"not named: {error!r}")
    return found


N_DAMAGED = {".nwb": (20, 160), ".nix": (6, 24), ".pkl": (50, 300), ".mat": (50, 300)}
"""Files cut short, and files with bits or stretches changed: NIX takes 0.2 s to be read."""


@every_format
def test_a_damaged_file_never_gives_another_recording(suffix, tmp_path):
    recording = of_size(1 if suffix == ".nix" else 3)
    path = save(recording, tmp_path / f"net{suffix}")
    whole = path.read_bytes()
    n_cut, n_changed = N_DAMAGED[suffix]
    cut = [whole[: len(whole) * i // n_cut] for i in range(n_cut)]
    assert set(finished(outcomes, path, cut, recording)) <= {"named", "the same"}
    rng = np.random.default_rng(4)
    places = rng.integers(len(whole), size=n_changed)
    path.write_bytes(whole)
    if suffix == ".nwb":  # most of the file is the standard's own text: every second time, hit the spikes
        with h5py.File(path) as file:
            spikes = file["units/spike_times"].id.get_chunk_info(0)
        places[::2] = spikes.byte_offset + rng.integers(spikes.size, size=len(places[::2]))
    changed = []
    for number, at in enumerate(places):
        version = bytearray(whole)
        if number % 3 == 2:
            length = int(rng.integers(1, 200))
            version[at : at + length] = bytes(len(version[at : at + length]))
        else:
            version[at] ^= 1 << int(rng.integers(8))
        changed.append(bytes(version))
    found = finished(outcomes, path, changed, recording)
    assert set(found) <= {"named", "the same"}
    assert found.count("named") > n_changed / 10


def finished(function, *args):
    outcome, found = answer(*start(function, *args), timeout=120)
    assert outcome == "gave", found
    return found


@pytest.mark.parametrize("suffix", [".nix", ".pkl", ".mat"])
def test_spikes_that_were_changed_in_a_file_of_neo(suffix, tmp_path):
    """Told by the fingerprint alone; whoever passes a Block to from_neo gets what it holds."""
    recording = of_size(2)
    path = save(recording, tmp_path / f"net{suffix}")
    reader = {".nix": partial(neo.io.NixIO, mode="ro"), ".pkl": neo.io.PickleIO, ".mat": neo.io.NeoMatlabIO}
    io = reader[suffix](str(path))
    block = io.read_block()
    if suffix == ".nix":
        io.close()
    fewer = block.segments[0].spiketrains[0][1:]
    segment = block.segments[0]
    segment.spiketrains = [fewer, *list(segment.spiketrains)[1:]]
    assert Recording.from_neo(block).n_spikes == recording.n_spikes - 1
    changed = tmp_path / f"changed{suffix}"
    if suffix == ".nix":
        with neo.io.NixIO(str(changed), "ow") as io:
            io.write_block(block)
    else:
        block.groups.clear()
        reader[suffix](str(changed)).write_block(block)
    with pytest.raises(ValueError, match=rf"changed\{suffix} .*it is not as it was saved.*from_neo\(block\)"):
        load(changed, trust=True)


def save_many(go, recording, path, n, overwrite):
    """Save under numbered names, each at the same moment as somebody else."""
    won = []
    for i in range(n):
        go.wait(30)
        try:
            save(recording, path.with_stem(f"{path.stem}{i % 2 if overwrite else i}"), overwrite=overwrite)
            won.append(i)
        except FileExistsError:
            continue
    return won


@every_format
@pytest.mark.parametrize("overwrite", [True, False])
def test_two_processes_save_to_one_name(suffix, overwrite, tmp_path):
    n = {".nwb": 4, ".nix": 2}.get(suffix, 10)
    go = PROCESSES.Barrier(2)
    both = [of_size(2, seed=1), of_size(2, seed=2)]
    running = [start(save_many, go, each, tmp_path / f"net{suffix}", n, overwrite) for each in both]
    found = [answer(*each) for each in running]
    assert [outcome for outcome, _ in found] == ["gave", "gave"], found
    if overwrite:
        assert [won for _, won in found] == [list(range(n))] * 2
    else:
        assert sorted(i for _, won in found for i in won) == list(range(n))
    for path in tmp_path.iterdir():  # which has no folder of theirs any more
        number = int(path.stem.removeprefix("net"))
        winners = (
            both if overwrite else [each for each, (_, won) in zip(both, found, strict=True) if number in won]
        )
        assert load(path, trust=True) in winners


def load_in_little_memory(path):
    """Return the number of spikes in a file, or why there is none, and by how many bytes memory grew."""
    limit = in_use("VmSize") + 2**31
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = in_use("VmRSS")
    try:
        recording = load(path)
        found = int(recording.raster(recording.layers[0]).sum())
    except ValueError as error:
        found = str(error)
    return found, in_use("VmHWM") - before


def in_use(what):
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.search(rf"^{what}:\s*(\d+) kB", status, re.MULTILINE)[1])


def sealed_again(file):
    """Give an NWB file the identifier that belongs to what was put into it."""
    description = file["general/notes"].asstr()[()][len(NOTES) : -1]
    ends = file["units/spike_times_index"][:].astype(np.int64)
    identifier = fingerprint(description, np.diff(ends, prepend=0), file["units/checksum"][::2])
    replace_in(file, "identifier", data=identifier)


def replace_in(file, name, **how):
    attributes = dict(file[name].attrs)
    del file[name]
    made = file.create_dataset(name, **how)
    made.attrs.update(attributes)
    return made


def with_many_bins(file):
    notes = file["general/notes"].asstr()[()]
    changed = notes.replace('"trial_bins": [43, 21]', '"trial_bins": [1000000000000000, 21]')
    assert changed != notes
    replace_in(file, "general/notes", data=changed)
    sealed_again(file)


def with_spikes_beyond_the_end(file):
    file["units/spike_times_index"][-1] = 10**13
    sealed_again(file)


def with_more_spikes_than_bins(file):
    with_spikes_beyond_the_end(file)
    replace_in(file, "units/spike_times", shape=(10**13,), dtype=float, chunks=(2**14,), compression="gzip")


def with_an_index_never_stored(file):
    replace_in(file, "units/spike_times_index", shape=(10**12,), dtype=np.uint64)


@cache
def bomb():
    """Return a MB that inflates to a GB."""
    squeeze = zlib.compressobj()
    first, next_one = (squeeze.compress(bytes(2**20)) + squeeze.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + next_one * 1023


def with_a_bomb_as(name, file):
    """Put in a chunk that inflates to a GB."""
    old = file[name]
    made = replace_in(file, name, shape=old.shape, dtype=old.dtype, chunks=old.shape, compression="gzip")
    made.id.write_direct_chunk((0,), bomb())


def with_a_train_never_stored(file):
    names = []
    file.visit(lambda name: names.append(name) if name.endswith("/data") else None)
    for name in names:
        replace_in(file, name, shape=(10**12,), dtype=float, chunks=(2**14,))


def with_a_train_as_bomb(file):
    names = []
    file.visit(lambda name: names.append(name) if name.endswith("/data") else None)
    with_a_bomb_as(names[0], file)


CRAFTED = {
    ".nwb": [
        with_many_bins,
        with_spikes_beyond_the_end,
        with_more_spikes_than_bins,
        with_an_index_never_stored,
        partial(with_a_bomb_as, "units/spike_times_index"),
        partial(with_a_bomb_as, "units/checksum"),
        partial(with_a_bomb_as, "units/spike_times"),
    ],
    ".nix": [with_a_train_never_stored, with_a_train_as_bomb],
}


@pytest.mark.parametrize(
    ("suffix", "craft"), [(suffix, craft) for suffix, crafts in CRAFTED.items() for craft in crafts]
)
def test_hdf5_files_of_absurd_size(suffix, craft, tmp_path):
    path = save(of_size(2), tmp_path / f"net{suffix}")
    with h5py.File(path, "a") as file:
        craft(file)
    assert_refused(path)


def assert_refused(path):
    outcome, found = elsewhere(load_in_little_memory, path)
    assert outcome == "gave", found
    error, grown = found
    assert path.name in error
    assert "MemoryError" not in error  # the limit of this test is not what stopped it
    assert grown < 2**28


def test_others_are_read_in_the_same_memory(tmp_path):
    recording = of_size(2)
    for suffix in (".nwb", ".nix", ".mat"):
        path = save(recording, tmp_path / f"net{suffix}")
        outcome, found = elsewhere(load_in_little_memory, path)
        assert (outcome, found[0]) == ("gave", recording.n_spikes)


def mat_with(path, what, many):
    """Write a MATLAB file whose Block says it has many more of something than are there."""
    content = {"cells": np.array([1, "x"], object), "text": "abc", "numbers": np.arange(3.0)}[what]
    scipy.io.savemat(path, {"block": {"segments": content}})
    data = bytearray(path.read_bytes())
    sizes = {"cells": (1, 2), "text": (1, 3), "numbers": (1, 3)}[what]
    at = data.rindex(b"\x05\0\0\0\x08\0\0\0" + np.array(sizes, "<i4").tobytes())
    data[at + 8 : at + 16] = np.array(many, "<i4").tobytes()
    path.write_bytes(data)


@pytest.mark.parametrize("what", ["cells", "text", "numbers"])
@pytest.mark.parametrize("many", [(2**31 - 1, 2**31 - 1), (2**30, 4)])
def test_matlab_files_of_absurd_size(what, many, tmp_path):
    path = tmp_path / "net.mat"
    mat_with(path, what, many)
    assert_refused(path)


def test_a_matlab_file_that_inflates(tmp_path):
    path = tmp_path / "net.mat"
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    path.write_bytes(header + np.array([15, len(bomb())], "<u4").tobytes() + bomb())
    assert_refused(path)


@pytest.mark.parametrize("do_compression", [False, True])
def test_matlab_files_of_other_makers_pass(do_compression, tmp_path, monkeypatch):
    """All kinds of content that a Block may have, also as MATLAB compresses it."""
    more = {
        "empty": "", "texts": np.array(["a", "bcd"]), "cells": np.array([1, "x"], object),
        "yes": True, "none": np.empty((0, 3)), "inner": {"a": {"b": "ü"}}, "zeros": np.zeros((500, 100)),
    }  # fmt: skip
    savemat = scipy.io.savemat

    def with_more(path, contents, **how):
        savemat(path, {**contents, **more}, do_compression=do_compression, **how)

    monkeypatch.setattr(scipy.io, "savemat", with_more)
    recording = of_size(3)
    path = save(recording, tmp_path / "net.mat")
    assert set(more) < set(scipy.io.loadmat(path))
    assert load(path) == recording


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".PKL", ".pickle"])
def test_no_pickle_is_opened_without_trust(suffix, tmp_path, capsys):
    path, went_off = tmp_path / f"bomb{suffix}", tmp_path / "went_off"
    path.write_bytes(pickle.dumps(Bomb(went_off)))
    good, output = save(of_size(1), tmp_path / "good.mat"), tmp_path / "out.mat"
    with pytest.raises(ValueError, match=f"bomb{suffix}"):
        load(path)
    for args in (["info", path], ["convert", path, output], ["compare", good, path], ["summarize", path]):
        assert main([str(arg) for arg in args]) == 2
        assert f"bomb{suffix}" in capsys.readouterr().err
    assert not went_off.exists()
    if suffix == ".pkl":  # it would have
        with pytest.raises(ValueError, match="bomb"):
            load(path, trust=True)
        assert went_off.exists()

"""Processes that share a presentation: their summaries merge into that of one, or all of them fail."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ann2neo import Summary
from ann2neo.summary.parts import stretch
from ann2neo.summary.processes import Process, _join, merge_ranks, process_group
from helpers.sums import assert_same_sums

pytestmark = pytest.mark.slow

SECONDS = 120
"""What a group may take, also one of which a process dies; far less than the group's own timeout."""

TASK = """
import os, sys, signal, torch
from ann2neo import Summary
from ann2neo.summary.processes import merge_ranks, process_group

def activations(first, stop):
    x = torch.randn(230, 5, 2, 3, generator=torch.Generator().manual_seed(0))[first:stop]
    return {"conv": x, "relu": x.flatten(1) - 0.5}

def summary(first, stop, **settings):
    settings = {"isi_histogram": True, "trial_bins": (100, 130), **settings}
    part = Summary(7, start=first, **settings)
    return part.update(activations(first, stop)) if stop > first else part
"""

EDGES = {
    "uneven": (0, 1, 201, 230),
    "first_empty": (0, 0, 100, 230),
    "middle_empty": (0, 99, 99, 230),
    "last_empty": (0, 120, 230, 230),
    "only_the_last": (0, 0, 0, 230),
}


def group_of(n_ranks):
    """Return what torchrun tells the processes that it starts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {"WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def start_ranks(n_ranks, script, folder):
    group = {**os.environ, **group_of(n_ranks), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", TASK + textwrap.dedent(script)],
            **{"cwd": folder, "env": {**group, "RANK": str(rank)}},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(n_ranks)
    ]


def ends(processes):
    """Return exit status and what was said of each process, all of which end in time."""
    try:
        told = [process.communicate(timeout=SECONDS)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, text) for process, text in zip(processes, told, strict=True)]


# -- stretches -----------------------------------------------------------------------------------------


@given(st.integers(0, 500), st.integers(1, 70), st.integers(1, 12))
def test_stretches_are_the_batches_of_one_process(n_stimuli, batch_size, n_parts):
    stretches = [stretch(n_stimuli, batch_size, part, n_parts) for part in range(n_parts)]
    batches = [
        (i, min(i + batch_size, stop)) for first, stop in stretches for i in range(first, stop, batch_size)
    ]
    assert batches == [(i, min(i + batch_size, n_stimuli)) for i in range(0, n_stimuli, batch_size)]
    n_batches = [-(-(stop - first) // batch_size) for first, stop in stretches]
    assert n_batches == sorted(n_batches, reverse=True)
    assert max(n_batches) - min(n_batches) <= 1


def test_stretches_that_cannot_be():
    with pytest.raises(ValueError, match="part=3 of 3: parts are counted from 0 to 2"):
        stretch(10, 2, 3, 3)
    with pytest.raises(ValueError, match="batch_size=0"):
        stretch(10, 0, 0, 3)


# -- groups --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def merged(tmp_path_factory):
    """What three processes made of several ways to share 230 bins."""
    folder = tmp_path_factory.mktemp("merged")
    script = f"""
    with process_group() as process:
        assert (process.rank, process.n_ranks) == (int(os.environ["RANK"]), 3)
        for name, edges in {EDGES}.items():
            first, stop = edges[process.rank : process.rank + 2]
            whole = merge_ranks(summary(first, stop) if stop > first else None)
            assert (whole is None) == (process.rank > 0)
            if whole is not None:
                whole.save(f"{{name}}.npz")
        first, stop = {EDGES["middle_empty"]}[process.rank : process.rank + 2]
        whole = merge_ranks(summary(first, stop, n_correlated=0, isi_histogram=False))
        if whole is not None:
            whole.save("empty_tensors.npz")
    assert not torch.distributed.is_initialized()
    """
    assert [status for status, _ in ends(start_ranks(3, script, folder))] == [0, 0, 0]
    return folder


def in_one_process(**settings):
    given = {"isi_histogram": True, "trial_bins": (100, 130), **settings}
    x = torch.randn(230, 5, 2, 3, generator=torch.Generator().manual_seed(0))
    return Summary(7, **given).update({"conv": x, "relu": x.flatten(1) - 0.5})


@pytest.mark.parametrize("edges", EDGES)
def test_the_same_as_one_process(merged, edges):
    found, wanted = Summary.load(merged / f"{edges}.npz"), in_one_process()
    assert_same_sums(found, wanted)
    assert found.units.equals(wanted.units)
    assert (found.start, found.trial_bins) == (0, (100, 130))


def test_summaries_without_bins_and_without_samples(merged):
    assert_same_sums(
        Summary.load(merged / "empty_tensors.npz"), in_one_process(n_correlated=0, isi_histogram=False)
    )


def test_that_the_comparison_can_fail(merged):
    found = Summary.load(merged / "uneven.npz")
    found._network.layers["relu"].state[0, 3] += 1
    with pytest.raises(AssertionError):
        assert_same_sums(found, in_one_process())


def test_a_process_that_dies_ends_all_with_an_error(tmp_path):
    """Also the one of rank 1, whose summary had reached rank 0 before."""
    script = """
    with process_group() as process:
        if process.rank == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        merge_ranks(summary(*[(0, 50), (50, 100)][process.rank]))
    """
    first, second, killed = ends(start_ranks(3, script, tmp_path))
    assert killed[0] == -signal.SIGKILL
    assert first[0] == second[0] == 1
    assert "rank 0 waited for rank 2, but got no answer: a process died" in first[1]
    assert "rank 1 waited for the others, but got no answer: a process died" in second[1]


def test_no_process_has_stimuli(monkeypatch):
    for name, value in group_of(1).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match="no process has a summary"), process_group() as process:
        assert process == Process(0, 1)
        merge_ranks(None)
    assert not torch.distributed.is_initialized()


def test_a_merged_summary_is_of_no_single_run():
    x = {"relu": torch.ones(4, 3)}
    one, two = Summary(2).update(x), Summary(2, start=4).update(x)
    one.annotations = {"model": "mine", "n_batches": 2, "batch_size": 2, "n_steps": 1, "interrupted": True}
    assert one.merge(two).annotations == {"model": "mine"}
    two.annotations = {"interrupted": True}
    assert one.merge(two).annotations == {"model": "mine", "interrupted": True}


def test_summaries_that_do_not_fit_are_told_by_rank():
    x = {"relu": torch.ones(4, 3)}
    with pytest.raises(ValueError, match=r"the summaries of ranks 4 and 6: .* window=2, the other 3"):
        _join(Summary(2).update(x), Summary(3, start=4).update(x), 4, 6)


def test_without_torchrun_a_process_is_alone():
    with process_group("cuda") as process:
        assert process == Process(0, 1, "cuda")
        summary = Summary(2)
        assert merge_ranks(summary) is summary


def test_gpus_are_shared_out(monkeypatch):
    for name, value in {"RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="process 1 of this machine finds no GPU of its own among 1"):
        process_group("cuda").__enter__()
    with pytest.raises(ValueError, match="device cuda:1 for 4 processes: give cuda, so that"):
        process_group("cuda:1").__enter__()


# -- torchrun ------------------------------------------------------------------------------------------


MODEL = """
import torch
from torch import nn

def model():
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 20), nn.ReLU())
"""


def test_torchrun_gives_the_numbers_of_one_process(tmp_path):
    Path(tmp_path / "nets.py").write_text(MODEL)
    images = np.random.default_rng(0).normal(size=(290, 1, 8, 8)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    command = [
        *("-m", "ann2neo", "stream", "--model", "nets:model", "--data", "x.npy", "--batch-size", "32"),
        *("--layers", "*", "--window", "9", "--trials", "3", "--isi-histogram", "--checkpoint", "run.npz"),
        *("--threshold", "quantile:0.8", "--calibration", "60"),
    ]
    runs = {
        "one": [sys.executable, *command, "-o", "one.npz"],
        "two": [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *(*command, "-o", "two.npz", "--units-table", "units.csv"),
        ],
    }
    processes = {
        name: subprocess.Popen(
            arguments,
            **{"cwd": tmp_path, "env": {**os.environ, "OMP_NUM_THREADS": "1"}},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, arguments in runs.items()
    }
    told = {name: process.communicate(timeout=SECONDS) for name, process in processes.items()}
    assert {name: process.returncode for name, process in processes.items()} == {"one": 0, "two": 0}, told
    shown = [told[name][0].replace("saved as one.npz", "saved as two.npz, units.csv") for name in runs]
    assert shown[0] == shown[1]  # once, and the same
    one, two = (np.load(tmp_path / f"{name}.npz") for name in runs)
    assert set(one) == set(two)
    assert [name for name in one if name != "about" and not np.array_equal(one[name], two[name])] == []
    assert Summary.load(tmp_path / "two.npz").n_bins == 230
    parts = sorted(path.name for path in tmp_path.glob("run*.npz"))
    assert parts == ["run-rank0of2.npz", "run-rank1of2.npz", "run.npz"]
    # 8 batches: 4 and 4, of which the last is short
    assert [Summary.load(tmp_path / name).n_bins for name in parts] == [128, 102, 230]

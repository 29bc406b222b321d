"""What summaries cost beside the forward pass, Elephant, NumPy and the memory of the machine.

    python benchmarks/streaming.py                 # all tables, some 20 minutes on two cores
    python benchmarks/streaming.py overhead --device cuda --json results.json
    python benchmarks/streaming.py --quick         # every table, small: to see that it runs

Times of one table are of one run, alternating, after a warm-up; ratios are medians over repetitions.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import ann2neo
from ann2neo import Probe, Summary
from ann2neo.summary.kernels import choose
from ann2neo.summary.kernels.state import MOST_BINS, Segment, new_state

Rows = list[dict[str, Any]]


def seconds(work: Callable[[], Any], device: torch.device) -> float:
    """Time a call, the device's queue included."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


# -- (a) beside the forward pass -----------------------------------------------------------------------


def network(name: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a network with random weights, and the shape of a stimulus."""
    torch.manual_seed(0)
    if name == "mlp":
        sizes = [784, 2048, 2048, 2048, 10]
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        return nn.Sequential(*layers[:-1]).eval(), (784,)
    import torchvision

    return getattr(torchvision.models, name)().eval(), (3, 224, 224)


def images(n: int, shape: tuple[int, ...], kind: str) -> torch.Tensor:
    """Return white noise, to which a random network responds much the same, or smooth random images."""
    rng = torch.Generator().manual_seed(1)
    if kind == "noise" or len(shape) == 1:
        return torch.randn(n, *shape, generator=rng)
    parts = [
        weight * nn.functional.interpolate(torch.randn(n, 3, k, k, generator=rng), size=224, mode="bilinear")
        for k, weight in ((1, 1.0), (4, 1.0), (16, 0.7), (56, 0.4))
    ]
    return torch.stack(parts).sum(0)


def overhead(device: torch.device, quick: bool) -> Rows:
    """Forward pass with a summary of all activation units over the bare one."""
    on_gpu = device.type == "cuda"
    names = ["resnet18", "resnet50", "mlp", "vit_b_16"]
    modes = ["fp32", "tf32", "bf16"] if on_gpu else ["fp32"]
    batch, n_batches, repetitions = (256, 8, 5) if on_gpu else (32, 8, 3)
    if quick:
        names, batch, n_batches, repetitions = ["mlp", "resnet18"], 4, 2, 1
    rows = []
    for name in names:
        for mode in modes:
            model, shape = network(name)
            model, dtype = model.to(device), torch.bfloat16 if mode == "bf16" else torch.float32
            model = model.to(dtype=dtype)
            torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mode == "tf32"
            stimuli = images(batch * n_batches, shape, "smooth").to(device, dtype)
            if len(shape) == 3:
                model = model.to(memory_format=torch.channels_last)
                stimuli = stimuli.contiguous(memory_format=torch.channels_last)
            rows.append(
                {"network": name, "mode": mode, **_overhead(model, stimuli, batch, repetitions, device)}
            )
    return rows


def _overhead(
    model: nn.Module, stimuli: torch.Tensor, batch: int, repetitions: int, device: torch.device
) -> dict[str, Any]:
    batches = stimuli.split(batch)

    def forward(some: Sequence[torch.Tensor]) -> None:
        for each in some:
            model(each)

    # batch by batch, so that both meet the same noise of the machine; a GPU's queue stays full by rounds
    rounds = [[each] for each in batches] if device.type == "cpu" else [list(batches)]
    summary = Summary(100)
    with torch.no_grad():
        forward(batches)
        probe = Probe(model, into=[summary])
        with probe:
            forward(batches)
        bare, with_summary = [0.0] * repetitions, [0.0] * repetitions
        for i in range(repetitions):
            for some in rounds:
                bare[i] += seconds(lambda some=some: forward(some), device)
                with probe:
                    with_summary[i] += seconds(lambda some=some: forward(some), device)
    p = summary.values["activation_probability"]
    return {
        "batch": batch,
        "units": len(p),
        "mean p": float(p.mean()),
        "bare ms": 1e3 * median(bare) / len(batches),
        "ours ms": 1e3 * median(with_summary) / len(batches),
        "ratio": median(b / a for a, b in zip(bare, with_summary, strict=True)),
    }


# -- (b) beside Elephant and NumPy ---------------------------------------------------------------------

WINDOW = 100


def elephant_by_hand(spikes: np.ndarray) -> np.ndarray:
    """Return rate, Fano factor, CV, CV2, LV of units (n_units, n_bins), as one writes it with Neo."""
    import elephant.statistics as es
    import neo
    import quantities as pq

    n_bins, rows = spikes.shape[1], []
    for unit in spikes:
        train = neo.SpikeTrain((np.flatnonzero(unit) + 0.5) * pq.ms, t_stop=n_bins * pq.ms)
        edges = np.arange(0, n_bins + 1, WINDOW) * pq.ms
        windows = [train.time_slice(a, b) for a, b in pairwise(edges)]
        isi = es.isi(train)
        rows.append(
            [
                es.mean_firing_rate(train).rescale("Hz").item(),
                es.fanofactor(windows),
                es.cv(isi),
                es.cv2(isi, with_nan=True),
                es.lv(isi, with_nan=True),
            ]
        )
    return np.array(rows, float)


def numpy_by_hand(spikes: np.ndarray) -> np.ndarray:
    """Return the same by vectorised NumPy."""
    n_units = len(spikes)
    counts = spikes.reshape(n_units, -1, WINDOW).sum(2)
    unit, bins = np.nonzero(spikes)
    same = np.diff(unit) == 0
    isi, of = np.diff(bins)[same], unit[1:][same]
    pair = np.diff(of) == 0
    contrast = (np.diff(isi) / (isi[1:] + isi[:-1]))[pair]

    def mean(values: np.ndarray, group: np.ndarray) -> np.ndarray:
        return np.bincount(group, values, n_units) / np.bincount(group, minlength=n_units)

    mean_isi = mean(isi, of)
    cv = np.sqrt(mean(isi**2, of) - mean_isi**2) / mean_isi
    cv2, lv = mean(2 * abs(contrast), of[1:][pair]), mean(3 * contrast**2, of[1:][pair])
    rate = spikes.mean(1) * 1000
    return np.stack([rate, counts.var(1) / counts.mean(1), cv, cv2, lv], 1)


def elephant(device: torch.device, quick: bool) -> Rows:
    """Bring one raster through Neo and Elephant by hand, through NumPy, and through a Summary."""
    n_units, n_bins = (500, 2000) if quick else (20_000, 10_000)
    n_by_hand = 4 if quick else 20
    p = np.random.default_rng(0).uniform(0.02, 0.9, n_units).astype(np.float32)
    activations = p - torch.rand(n_bins, n_units, generator=torch.Generator().manual_seed(0)).numpy()
    batches = torch.from_numpy(activations).to(device).split(128)

    def ours() -> np.ndarray:
        summary = Summary(WINDOW)
        for batch in batches:
            summary.update({"layer": batch})
        names = ["mean_firing_rate", "fano_factor", "cv_isi", "cv2_isi", "lv_isi"]
        return np.stack([summary.values[name] for name in names], 1)

    chosen = np.linspace(0, n_units - 1, n_by_hand).astype(int)
    results: dict[str, np.ndarray] = {}

    def keep(name: str, work: Callable[[], np.ndarray]) -> Callable[[], None]:
        return lambda: results.update({name: work()})

    ours()
    took = {
        "neo + elephant by hand": seconds(
            keep("elephant", lambda: elephant_by_hand((activations > 0).T[chosen])), device
        )
        / n_by_hand
        * n_units,
        "numpy, vectorised": seconds(
            keep("numpy", lambda: np.concatenate([numpy_by_hand(x) for x in _blocks(activations)])), device
        ),
        "ann2neo.Summary": median(seconds(keep("ours", ours), device) for _ in range(3)),
    }
    np.testing.assert_allclose(results["ours"][chosen], results["elephant"], rtol=1e-9)
    np.testing.assert_allclose(results["ours"], results["numpy"], rtol=1e-6)
    fastest = took["ann2neo.Summary"]
    return [
        {
            "by": name,
            "seconds": value,
            "times ours": value / fastest,
            "measured on": n_by_hand if "hand" in name else n_units,
        }
        for name, value in took.items()
    ]


def _blocks(activations: np.ndarray) -> list[np.ndarray]:
    spikes = (activations > 0).T
    return [np.ascontiguousarray(spikes[i : i + 500]) for i in range(0, len(spikes), 500)]


# -- (c) memory against stimuli ------------------------------------------------------------------------


def memory(device: torch.device, quick: bool) -> Rows:
    """Peak memory of a process that summarizes more and more stimuli."""
    numbers = (500, 1000) if quick else (1000, 10_000, 100_000)
    rows: Rows = []
    for n in numbers:
        command = [sys.executable, __file__, "--peak-of", str(n), "--device", str(device)]
        peak = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = rows[0]["peak MB"] if rows else peak
        rows.append({"stimuli": n, "peak MB": peak, "growth %": 100 * (peak / first - 1)})
    return rows


def peak_of(n_stimuli: int, device: torch.device) -> float:
    """Summarize so many stimuli, made as they are shown; return the peak memory in MB."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(100, 20_000), nn.ReLU())
    sizes = [min(128, n_stimuli - i) for i in range(0, n_stimuli, 128)]
    summary = ann2neo.summarize(model, (torch.randn(n, 100) for n in sizes), device=device)
    assert summary.n_bins == n_stimuli
    _ = summary.layers
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would tell of the process that started this one, too
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return float(line.split()[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


# -- (d) cost against units, (e) bandwidth -------------------------------------------------------------


def units(device: torch.device, quick: bool) -> Rows:
    """Cost of thresholding and adding up, by the number of units."""
    rows = []
    for n in (1000, 10_000) if quick else (1000, 10_000, 100_000, 1_000_000, 5_000_000):
        x = (torch.rand(32, n, generator=torch.Generator().manual_seed(0)) - 0.5).to(device)
        summary, repetitions = Summary(100, n_correlated=0), 16 if n > 1e5 else 64
        for _ in range(8):
            summary.update({"layer": x})
        took = seconds(lambda: [summary.update({"layer": x}) for _ in range(repetitions)], device)  # noqa: B023
        layer = summary._network.layers["layer"]
        held = sum(t.numel() * t.element_size() for t in (layer.state, layer._words, layer.complexity))
        rows.append(
            {
                "units": n,
                "ns per unit and bin": 1e9 * took / (n * 32 * repetitions),
                "bytes per unit": held / n,
            }
        )
    return rows


def bandwidth(device: torch.device, quick: bool) -> Rows:
    """Bytes that the kernels must move over the time they take, against a copy in the same run."""
    n_units, n_bins = (20_000, 256) if quick else (1_000_000, 256)
    backend = choose(device)
    rows = []
    for dtype in (torch.float32, torch.bfloat16) if device.type == "cuda" else (torch.float32,):
        x = (torch.rand(n_bins, n_units, device=device) - 0.5).to(dtype)
        limit, state = torch.zeros(n_units, device=device), new_state(n_units, device)
        words = torch.zeros(n_bins // 32, n_units, dtype=torch.int32, device=device)
        other, size = torch.empty_like(x), x.numel() * x.element_size()
        segment = Segment(0, min(n_bins, MOST_BINS), 0, 100, 0, False, True, True)
        works = {
            "copy": (lambda: other.copy_(x), 2 * size),  # noqa: B023
            "pack": (lambda: backend.pack(x, limit, words, 0), size + words.numel() * 4),  # noqa: B023
            "fold": (
                lambda: backend.fold(words, segment, state, None),  # noqa: B023
                words.numel() * 4 + 2 * state.numel() * 8,
            ),
        }
        took: dict[str, list[float]] = {name: [] for name in works}
        for repetition in range(2 if quick else 12):
            for name, (work, _) in works.items():
                once = seconds(work, device)
                if repetition:  # the first is the warm-up
                    took[name].append(once)
        copy = works["copy"][1] / median(took["copy"])
        for name, (_, moved) in works.items():
            speed = moved / median(took[name])
            rows.append(
                {
                    "kernel": name,
                    "dtype": str(dtype).removeprefix("torch."),
                    "ms": 1e3 * median(took[name]),
                    "GB/s": speed / 1e9,
                    "of copy": speed / copy,
                }
            )
    return rows


# -- (f) processes -------------------------------------------------------------------------------------


def processes(device: torch.device, quick: bool) -> Rows:
    """One and two processes, each on a core of its own, on the same stimuli."""
    if device.type == "cuda" or not hasattr(os, "sched_setaffinity"):
        return [{"processes": "not measured: needs Linux and CPUs"}]
    n, rows = 64 if quick else 512, []
    repetitions = 1 if quick else 3
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(repetitions):
        for n_processes in (1, 2):
            command = [sys.executable, __file__, "--share-of", str(n), "--of", str(n_processes)]
            running = [
                subprocess.Popen([*command, "--rank", str(rank)], stdout=subprocess.PIPE, text=True)
                for rank in range(n_processes)
            ]
            slowest = max(float(process.communicate()[0]) for process in running)
            speeds[n_processes].append(n / slowest)
    for n_processes, found in speeds.items():
        ratio = median(b / a for a, b in zip(speeds[1], found, strict=True))
        rows.append({"processes": n_processes, "stimuli/s": median(found), "times one": ratio})
    return rows


def share_of(n_stimuli: int, n_processes: int, rank: int) -> float:
    """Summarize one process's stretch on one core; return the seconds it took."""
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[rank]})
    torch.set_num_threads(1)
    import torchvision

    model, size = torchvision.models.resnet18().eval(), n_stimuli // n_processes
    stimuli = torch.randn(size, 3, 64, 64)
    given: dict[str, Any] = {"start": rank * size, "n_stimuli": n_stimuli, "batch_size": 32}
    ann2neo.summarize(model, stimuli[:32], batch_size=32)
    begin = time.perf_counter()
    ann2neo.summarize(model, stimuli, **given)
    return time.perf_counter() - begin


# -- printing ------------------------------------------------------------------------------------------

TABLES = {
    "overhead": overhead,
    "elephant": elephant,
    "memory": memory,
    "units": units,
    "bandwidth": bandwidth,
    "processes": processes,
}


def show(name: str, rows: Rows) -> None:
    """Print a table."""
    print(f"\n{name}: {(TABLES[name].__doc__ or '').splitlines()[0]}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.4g}".format), flush=True)


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the figures depend on."""
    info = Path("/proc/cpuinfo")
    models = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "ann2neo": ann2neo.__version__,
    }


def main() -> None:
    """Run the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tables", nargs="*", metavar="table", help=", ".join(TABLES))
    parser.add_argument("--device", default="cpu", type=torch.device)
    parser.add_argument("--json", type=Path, help="save all numbers")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    for inner in ("--peak-of", "--share-of", "--of", "--rank"):
        parser.add_argument(inner, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak_of:
        print(peak_of(args.peak_of, args.device))
        return
    if args.share_of:
        print(share_of(args.share_of, args.of, args.rank))
        return
    unknown = set(args.tables) - TABLES.keys()
    if unknown:
        parser.error(f"no table {', '.join(unknown)}: there are {', '.join(TABLES)}")
    about = machine(args.device)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    results: dict[str, Any] = {"machine": about}
    for name in args.tables or TABLES:
        results[name] = TABLES[name](args.device, args.quick)
        show(name, results[name])
        if args.json:
            args.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

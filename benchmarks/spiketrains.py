"""What a spike train costs: made, iterated, written and read, ours beside Neo's own way.

    python benchmarks/spiketrains.py [--units 100000] [--bins 10000] [--repeats 3]

Prints microseconds per train, the median of the repeats, and the ratio within this run. Neo's own ways are
timed on fewer trains, as many as the last column says.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from time import perf_counter

import neo
import numpy as np
import pandas as pd
import quantities as pq

import ann2neo
from ann2neo import Recording, SpikeRaster
from ann2neo.recording.time import PseudoTime


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Return the median time of a call, after one that is not counted."""
    times = []
    for _ in range(repeats + 1):
        gc.collect()
        started = perf_counter()
        function()
        times.append(perf_counter() - started)
    return median(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--units", type=int, default=100_000)
    parser.add_argument("--bins", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    parts = [
        np.packbits(rng.random((min(1000, args.units - first), args.bins), np.float32) < 0.1, axis=1)
        for first in range(0, args.units, 1000)
    ]
    units = np.arange(args.units)
    raster = SpikeRaster(
        np.concatenate(parts), PseudoTime(1.0, (args.bins,)), units, units.shape, np.zeros(args.units)
    )
    recording = Recording({"relu": raster})
    few = recording.select(units=np.arange(min(200, args.units)))
    times = [np.flatnonzero(row) + 0.5 for row in few.raster("relu")]
    t_stop = args.bins * pq.ms

    def constructor() -> list[neo.SpikeTrain]:
        return [
            neo.SpikeTrain(t, t_stop=t_stop, units="ms", layer="relu", unit=i) for i, t in enumerate(times)
        ]

    def walk(block: neo.Block) -> int:
        return sum(1 for _ in block.segments[0].spiketrains)

    def read() -> None:
        ann2neo.load(ours).rasters["relu"].in_memory()

    def read_some() -> None:
        ann2neo.load(ours).select(units=rng.choice(args.units, 50, replace=False))

    def write_with_neo(path: Path) -> None:
        block = neo.Block(name="block", session_start_time=datetime(2026, 1, 1, tzinfo=timezone.utc))
        segment = neo.Segment(name="segment")
        segment.spiketrains.extend(constructor())
        block.segments.append(segment)
        path.unlink(missing_ok=True)
        io = neo.io.NWBIO(str(path), mode="w")
        io.write(block, validate=False)

    def read_with_neo(path: Path) -> None:
        io = neo.io.NWBIO(str(path), mode="r")
        io.read_block()
        io.close()

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs, nix = (Path(folder) / name for name in ("ours.nwb", "theirs.nwb", "ours.nix"))
        block = recording.to_neo()
        tasks = {
            "to_neo, trains not yet made": (recording.to_neo, None),
            "make each train once": (lambda: walk(block), constructor),
            "write .nwb": (
                lambda: ann2neo.save(recording, ours, overwrite=True),
                lambda: write_with_neo(theirs),
            ),
            "read .nwb": (read, lambda: read_with_neo(theirs)),
            "write .nix": (None, lambda: ann2neo.save(few, nix, overwrite=True)),
            "read .nix": (None, lambda: ann2neo.load(nix)),
        }
        rows = []
        for name, (own, neos) in tasks.items():
            row = {"task": name}
            if own is not None:
                row["ann2neo (µs/train)"] = seconds(own, args.repeats) / args.units * 1e6
            if neos is not None:
                row["Neo (µs/train)"] = seconds(neos, args.repeats) / len(times) * 1e6
                row["Neo's trains"] = len(times)
            if len(row) == 4:
                row["ratio"] = row["Neo (µs/train)"] / row["ann2neo (µs/train)"]
            rows.append(row)
        opened = seconds(lambda: ann2neo.load(ours), args.repeats)
        chosen = seconds(read_some, args.repeats)
        size = ours.stat().st_size / args.units
    spikes = recording.n_spikes / args.units
    print(f"{args.units} trains of {spikes:.0f} spikes, median of {args.repeats}")
    print(pd.DataFrame(rows).to_string(index=False, float_format="{:.1f}".format, na_rep=""))
    print(f".nwb: {size:.0f} B a train; opened in {opened:.3f} s, 50 units chosen and read in {chosen:.2f} s")


if __name__ == "__main__":
    main()

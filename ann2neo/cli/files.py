"""The commands that read files of recordings."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .arguments import SIZE, STUDY_OPTIONS

if TYPE_CHECKING:
    import pandas as pd

    from ..recording.recording import Recording


def _demo(args: argparse.Namespace) -> int:
    from ..study.demo import run

    run(args.output, seed=args.seed, progress=True)
    return 0


def _layers(args: argparse.Namespace) -> int:
    import torch

    from ..model.inventory import layers
    from .models import load_model

    model, _ = load_model(args.model)
    size = getattr(model, "image_size", SIZE)
    shape = args.input_shape or [3, size, size]
    if min(shape) < 1:
        raise ValueError(f"--input-shape {' '.join(map(str, shape))}: give whole numbers, at least 1")
    table = layers(model, torch.randn(2, *shape), device=args.device)
    table["shape"] = [" × ".join(map(str, each)) for each in table["shape"]]
    print(table.to_string(index=False))
    chosen = table[table.by_default]
    print(f"\nrecorded by default: {len(chosen)} layers, {chosen.n_units.sum()} units")
    return 0


def _info(args: argparse.Namespace) -> int:
    recording = _open(args.file, args)
    size = f" ({os.path.getsize(args.file) / 1e6:.2f} MB)" if os.path.isfile(args.file) else ""
    print(f"{args.file}{size}: {recording!r}")
    print(f"trials of {_range(recording.time.trial_bins)} bins; {_about_stimuli(recording)}\n")
    width = max(len(name) for name in ["layer", *recording.layers])
    print(f"{'layer':{width}}  {'units':>8}  {'of shape':<16}{'spikes':>12}  threshold")
    for name, raster in recording.rasters.items():
        cells = f"{raster.n_units:>8}  {' × '.join(map(str, raster.shape)):<16}{raster.n_spikes:>12}"
        print(f"{name:{width}}  {cells}  {_range(raster.threshold)}")
    print("\nannotations")
    for key, value in recording.annotations.items():
        print(f"  {key}: {value}")
    return 0


def _range(values: Iterable[float]) -> str:
    values = list(values)
    low, high = min(values), max(values)
    if low != low:
        return "unknown"
    return f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _about_stimuli(recording: Recording) -> str:
    stimuli = recording.stimuli
    if stimuli is None:
        return "no stimuli"
    if stimuli.labels is None:
        return f"{len(stimuli)} stimuli without labels"
    known = sorted(set(stimuli.labels.tolist()))
    more = ", …" if len(known) > 10 else ""
    return f"{len(stimuli)} stimuli with {len(known)} labels: {', '.join(map(str, known[:10]))}{more}"


def _convert(args: argparse.Namespace) -> int:
    from ..files.save_load import check_can_be_saved, save

    check_can_be_saved(args.output, overwrite=args.overwrite)
    recording = _open(args.input, args)
    print(f"{save(recording, args.output, overwrite=args.overwrite)}: {recording!r}")
    return 0


def _plot(args: argparse.Namespace) -> int:
    from ..interop.atomic import check_can_be_written
    from ..plot import overview, require

    require()
    output = Path(args.output or Path(args.files[0]).with_suffix(".png"))
    check_can_be_written(output, overwrite=args.overwrite)
    recordings = dict(zip(_names(args.files), (_open(file, args) for file in args.files), strict=True))
    overview(recordings, window=args.window).savefig(output)
    print(output)
    return 0


def _compare(args: argparse.Namespace) -> int:
    import textwrap

    from ..analysis.caveats import NETWORKS_AND_NEURONS
    from ..analysis.comparison import compare, summarized
    from ..files.tables import check_can_be_tabled, save_table
    from ..interop.atomic import check_can_be_written
    from ..plot import comparison, require

    if args.output is not None:
        require()
        check_can_be_written(args.output, overwrite=args.overwrite)
    if args.table is not None:
        check_can_be_tabled(args.table, overwrite=args.overwrite)
    recordings = dict(zip(_names(args.files), (_open(file, args) for file in args.files), strict=True))
    summaries = summarized(recordings, args.window)
    table = compare(summaries)
    print(_comparison(table))
    if len(set(table["bin_size"])) > 1:
        sizes = ", ".join(f"{name} {each.bin_size:g} ms" for name, each in summaries.items())
        print(f"\nbins are not of one size: {sizes}; give neurons the bins that you mean by --bin-size")
    print(f"\n{textwrap.fill(NETWORKS_AND_NEURONS, 98)}")
    if args.table is not None:
        print("saved as", save_table(table, args.table, overwrite=args.overwrite))
    if args.output is not None:
        comparison(summaries).savefig(args.output)
        print("drawn in", args.output)
    return 0


def _study(args: argparse.Namespace) -> int:
    import textwrap

    from ..plot import require
    from ..study import Study, run_study, verdicts, write_report

    require()
    grid = {name: getattr(args, name) for name in ("data", "architectures", "regimes")}
    given: dict[str, Any] = {name: tuple(values) for name, values in grid.items() if values is not None}
    given |= {name: value for name in STUDY_OPTIONS if (value := getattr(args, name)) is not None}
    results = run_study(
        args.output,
        Study(**given),
        processes=args.processes,
        device=args.device,
        root=args.root,
        download=args.download,
        progress=True,
    )
    report = write_report(results, args.output, tables=args.tables)
    judged = verdicts(results).to_dict("records")
    width = 1 + max((len(row["indicator"]) for row in judged), default=0)
    for row in judged:
        told = f"{row['indicator']:{width}}{row['direction']:8}{row['separates']:10}{row['verdict']}"
        print(textwrap.fill(told, 98, subsequent_indent=" " * (width + 18)))
    for status, n in results.cells["status"].value_counts().items():
        print(f"{n} cells {status}")
    print(f"report, figures and tables: {report}")
    return 1 if (results.cells["status"] == "failed").any() else 0


def _names(files: list[str]) -> list[str]:
    """Return the files' names without folder and suffix, where these tell them apart."""
    names = [Path(file).stem for file in files]
    return names if len(set(names)) == len(names) else files


def _open(file: str, args: argparse.Namespace) -> Recording:
    """Open a recording; one from elsewhere in bins of the size that was asked for."""
    from ..files.save_load import NotBinned, load

    try:
        return load(file, block=args.block, trust=args.trust)
    except NotBinned:
        if args.bin_size is None:
            raise
        return load(file, bin_size=args.bin_size, block=args.block, trust=args.trust)


def _comparison(table: pd.DataFrame) -> str:
    """Return a table as text, its columns under short names."""
    shown = {
        "recording": "recording",
        "layer": "layer",
        "n_units": "units",
        "bin_size": "bin (ms)",
        "mean_firing_rate_mean": "rate (Hz)",
        "activation_probability_mean": "p",
        "dead_fraction": "dead",
        "fano_factor_mean": "Fano",
        "relative_fano_factor_mean": "Fano/(1−p)",
        "cv_isi_mean": "CV",
        "relative_cv_isi_mean": "CV/√(1−p)",
        "poisson_dispersion_rejected": "≠ Poisson",
        "binomial_dispersion_rejected": "≠ Bernoulli",
        "runs_rejected": "runs",
    }
    text = (
        table[list(shown)]
        .rename(columns=shown)
        .to_string(index=False, float_format="{:.3g}".format, na_rep="–")
    )
    window = table["window"].iloc[0]
    return (
        f"means over units, counts in windows of {window} bins; fractions of units whose counts are rejected "
        f"as Poisson and as Bernoulli, or whose order of spikes is (runs; q < 0.05)\n\n{text}"
    )

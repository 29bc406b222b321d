"""The tables of the demo: of units, of layers, and the one that it prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...analysis.poisson import PoissonFit
from ...summary.summary import Summary
from ..training import Training
from .networks import Trained

if TYPE_CHECKING:
    import pandas as pd


WINDOW = 20
"""Bins in a counting window: 87 windows in the five trials of 359 or 360 images."""


@dataclass(frozen=True)
class Row:
    """A row of the printed table: the column of ``networks.csv``, its format, its label."""

    name: str
    form: str
    label: str


TABLE = (
    Row("labels", "{}", "labels learned"),
    Row("goal", "{}", "accuracy to train for"),
    Row("reached", "{}", "reached"),
    Row("training_accuracy", "{:.1%}", "accuracy on training images"),
    Row("held_out_accuracy", "{:.1%}", "accuracy on held-out images"),
    Row("mean_firing_rate_mean", "{:.1f}", "firing rate (Hz): mean over units"),
    Row("mean_firing_rate_var", "{:.0f}", "  variance over units (Hz²)"),
    Row("fano_factor_mean", "{:.3f}", "Fano factor: mean over units"),
    Row("fano_factor_var", "{:.4f}", "  variance over units"),
    Row("relative_fano_factor_mean", "{:.3f}", "relative Fano factor: mean over units"),
    Row("relative_fano_factor_var", "{:.4f}", "  variance over units"),
    Row("poisson_dispersion_rejected", "{:.1%}", "rejected as Poisson, by counts"),
    Row("exponential_isi_rejected", "{:.1%}", "  by intervals"),
    Row("binomial_dispersion_rejected", "{:.1%}", "rejected as Bernoulli, by counts"),
    Row("geometric_isi_rejected", "{:.1%}", "  by intervals"),
    Row("dead_fraction", "{:.1%}", "dead units"),
    Row("always_on_fraction", "{:.1%}", "always-on units"),
)
"""The table that the demo prints, row by row."""

LEGEND = f"""\
  accuracy          on training images with the labels learned, on held-out images with the true labels
                    (held-out images also decide when the generalizing network has learned enough)
  p                 fraction of the images at which a unit is active (output > 0); an image lasts 1 ms
  firing rate       p / 1 ms: a unit that is active at every image has 1000 Hz
  Fano factor       variance / mean of a unit's spike counts in windows of {WINDOW} images
  relative          over the Fano factor of independent images with at most one spike each, which is
                    (n − 1)/n · (1 − p) in n windows; Poisson's is (n − 1)/n
  rejected          fraction of the units that could be tested, at a false discovery rate of 5 %:
                    counts in windows by dispersion tests; intervals by a Kolmogorov–Smirnov test
                    (exponential: Poisson) and by a chi-square test (geometric: Bernoulli)
  dead, always-on   active at none of the images, at all of them; means and variances leave out units
                    without a value, as dead units are without a Fano factor"""


def networks_table(
    networks: Mapping[str, Trained], summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]
) -> pd.DataFrame:
    """Return one row a network: how it was trained, and what :data:`TABLE` shows."""
    import pandas as pd

    rows = []
    for name, network in networks.items():
        training = network.training
        own = {
            "labels": network.labels,
            "goal": network.goal,
            "epochs": training.epochs,
            "reached": _reached(training),
            "training_accuracy": network.training_accuracy,
            "held_out_accuracy": network.held_out_accuracy,
        }
        measured = {**summaries[name].layers.iloc[-1], **fits[name].layers.iloc[-1]}
        rows.append(
            {"network": name, **own, **{r.name: measured[r.name] for r in TABLE if r.name not in own}}
        )
    return pd.DataFrame(rows)


def _reached(training: Training) -> str:
    if not training.epochs:
        return "untrained"
    return ("yes" if training.reached else "NO") + f", {training.epochs} epochs"


def as_text(table: pd.DataFrame) -> str:
    """Return the table of networks as it is printed, with a note on each goal that was missed."""
    label_width, width = max(len(row.label) for row in TABLE), 16
    lines = ["network".ljust(label_width) + "".join(f"{name:>{width}}" for name in table["network"])]
    lines += ["─" * len(lines[0])]
    for row in TABLE:
        cells = (row.form.format(value) for value in table[row.name])
        lines.append(row.label.ljust(label_width) + "".join(f"{cell:>{width}}" for cell in cells))
    lines += ["─" * len(lines[0])]
    for missed in table[table["reached"].str.startswith("NO")].itertuples():
        lines.append(f"NOTE: the {missed.network} network did NOT reach its goal of {missed.goal} accuracy.")
    return "\n".join(lines)


def units_table(summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]) -> pd.DataFrame:
    """Return statistics and tests of every unit of every network."""
    return _side_by_side({n: s.units for n, s in summaries.items()}, {n: f.units for n, f in fits.items()})


def layers_table(summaries: Mapping[str, Summary], fits: Mapping[str, PoissonFit]) -> pd.DataFrame:
    """Return statistics and tests of every layer of every network."""
    return _side_by_side({n: s.layers for n, s in summaries.items()}, {n: f.layers for n, f in fits.items()})


def _side_by_side(left: Mapping[str, pd.DataFrame], right: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join tables with the same rows, for all networks; a column that both have is kept once."""
    import pandas as pd

    joined = {n: left[n].join(right[n].drop(columns=left[n].columns, errors="ignore")) for n in left}
    return pd.concat(joined, names=["network"]).reset_index("network").reset_index(drop=True)

"""What is seen of a network along its training: indicators at each look, some units at the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from ...analysis.memorization import distributions, indicators
from ...model.recorder import record
from ...recording.recording import Recording
from ...summary.of_recording import summarize_recording
from .grid import Study
from .images import Images

if TYPE_CHECKING:
    import pandas as pd


LOOKS = (0, 1, 3, 10, 30, 100, 300)
"""A network is recorded after these epochs, and after the last one."""

MOST_UNITS_KEPT = 500
"""At the last look, so many units are kept one by one, for figures."""


@dataclass
class Looks:
    """Tables of what was seen of one network.

    Parameters
    ----------
    study : Study
        Its settings.
    images : Images
        The images that are shown.
    """

    study: Study
    images: Images
    _indicators: list[pd.DataFrame] = field(default_factory=list)
    _distributions: list[pd.DataFrame] = field(default_factory=list)
    _units: list[pd.DataFrame] = field(default_factory=list)

    def look(self, model: nn.Module, epoch: int, last: bool) -> None:
        """Record a network on training and on test images. The last look is the most thorough."""
        for split in ("training", "test"):
            recording = self._record(model, split)
            n_orders = self.study.n_orders if last else 1
            table = indicators(recording, window=self.study.window, n_orders=n_orders, surrogates=last)
            self._indicators.append(table.assign(split=split, epoch=epoch, last=last))
            if last:
                self._distributions.append(distributions(recording).assign(split=split))
                if split == "training":
                    self._units.append(_some_units(recording, self.study.window))

    def write(self, folder: Path) -> None:
        """Write what was seen: ``indicators.csv``, ``distributions.csv`` and ``units.csv``."""
        import pandas as pd

        tables = {"indicators": self._indicators, "distributions": self._distributions, "units": self._units}
        for name, parts in tables.items():
            if parts:
                pd.concat(parts).to_csv(folder / f"{name}.csv", index=False)

    def _record(self, model: nn.Module, split: str) -> Recording:
        of, n = self.images, self.study.n_stimuli
        x, y, ids = (of.x, of.y, of.ids) if split == "training" else (of.x_test, of.y_test, of.ids_test)
        recording = record(
            model,
            x[:n],
            units=self.study.units,
            threshold=self.study.threshold,
            ids=ids[:n],
            labels=y[:n].cpu(),
            batch_size=250,
        )
        if recording.annotations.get("interrupted"):
            raise KeyboardInterrupt  # a part of the stimuli is no look
        return recording


def _some_units(recording: Recording, window: int) -> pd.DataFrame:
    """Return p and the Fano factor, in one random order and sorted by class, of some units."""
    in_order = summarize_recording(recording.shuffle_stimuli(), window).units
    in_classes = summarize_recording(recording.sort_stimuli("labels"), window).units
    columns = ["layer", "unit", "activation_probability", "fano_factor"]
    table = in_order[columns].assign(sorted_fano_factor=in_classes["fano_factor"])
    return table.iloc[np.linspace(0, len(table) - 1, min(len(table), MOST_UNITS_KEPT)).astype(int)]

"""A summary on its way, written to a file from time to time, from which a run can go on."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...recording.annotations import as_json
from ...summary.npz import check_can_be_kept
from ...summary.summary import SETTINGS, Summary
from ..runs.origin import OF_THE_MOMENT
from .growing import GrowingSummary

SECONDS_BETWEEN_CHECKPOINTS = 60.0

NOT_COMPARED = {"n_batches", "n_steps", "interrupted", "threshold", *OF_THE_MOMENT}
"""What may differ from a checkpoint that is continued; thresholds are compared unit by unit."""


class Checkpoint:
    """How far a run is, its annotations, and the file that keeps both, if there is one.

    Parameters
    ----------
    path : path, optional
        The file.
    growing : GrowingSummary
        What is added up.
    batch_size : int
        Stimuli at once.

    Raises
    ------
    ValueError, FileNotFoundError
        If no summary can be written there.
    """

    def __init__(self, path: Any, growing: GrowingSummary, batch_size: int) -> None:
        self.path = None if path is None else Path(path)
        if self.path is not None:
            check_can_be_kept(self.path)
        self.growing, self.batch_size, self.n_batches = growing, batch_size, 0
        self._about: Mapping[str, Any] = {}
        self._saved_at = time.monotonic()

    def begin(self, about: Mapping[str, Any]) -> int:
        """Take up what is in the file, if it exists; return the number of batches that are in it.

        Parameters
        ----------
        about : mapping
            The annotations of this run.

        Raises
        ------
        ValueError
            If the file is damaged, or of another model or other settings.
        """
        self._about = about
        if self.path is None or not self.path.exists():
            return 0
        summary = Summary.load(self.path)
        n_steps = summary.annotations.get("n_steps", 1)
        planned = self.growing.empty(n_steps)
        then = {**summary.annotations, **_settings(summary)}
        now = {"batch_size": self.batch_size, **json.loads(as_json(about)), **_settings(planned)}
        by_default = {"window"} if self.growing.window is None else set()
        for name in sorted({**now, **then}.keys() - NOT_COMPARED - by_default):
            if then.get(name) != now.get(name):
                raise ValueError(
                    f"{self.path} cannot be continued: {name} was {then.get(name)}, now it is "
                    f"{now.get(name)}. Run with what it was, or name another checkpoint"
                )
        self.growing.go_on(summary, n_steps)
        self.n_batches = summary.annotations["n_batches"]
        return self.n_batches

    def batch_is_done(self) -> None:
        """Count a batch, and write the file where that is due."""
        self.n_batches += 1
        if self.path is not None and time.monotonic() - self._saved_at > SECONDS_BETWEEN_CHECKPOINTS:
            self._write(self._annotated(interrupted=True))
            self._saved_at = time.monotonic()

    def whole(self) -> Summary:
        """Return the summary at the end of the run, as it now is in the file."""
        return self._write(self._annotated(interrupted=False))

    def partial(self) -> Summary:
        """Return the summary after something stopped the run; warn if it cannot be written."""
        summary = self._annotated(interrupted=True)
        try:
            return self._write(summary)
        except OSError as error:
            warnings.warn(f"{self.path} could not be written: {error}", stacklevel=4)
            return summary

    def _annotated(self, interrupted: bool) -> Summary:
        annotations = dict(self._about)
        if self.path is not None:
            annotations["n_batches"] = self.n_batches
            annotations["batch_size"] = self.batch_size
            annotations["n_steps"] = self.growing.n_steps
        if interrupted:
            annotations["interrupted"] = True
        self.growing.summary.annotations = annotations
        return self.growing.summary

    def _write(self, summary: Summary) -> Summary:
        if self.path is not None:
            summary.save(self.path)
        return summary


def _settings(summary: Summary) -> dict[str, Any]:
    return {name: getattr(summary, name) for name in (*SETTINGS, "start")}

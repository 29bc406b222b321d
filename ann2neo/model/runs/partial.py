"""What is left when something stops a run before its end."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from ...recording.recording import Recording
from ...summary.summary import Summary

Result = TypeVar("Result", Recording, Summary)


class RecordingError(RuntimeError):
    """Recording stopped before its end; ``recording`` holds what was recorded until then.

    Parameters
    ----------
    message : str
        What happened.
    recording : Recording
        All complete forward passes until then.

    Examples
    --------
    >>> import torch
    >>> from ann2neo import record
    >>> stimuli = torch.tensor([[1.0], [2.0], [float("nan")]])
    >>> try:
    ...     record(torch.nn.ReLU(), stimuli, batch_size=2)
    ... except RecordingError as error:
    ...     error.recording
    Recording(1 layer, 1 units, 2 bins of 1 ms in 1 trial, 2 spikes)
    """

    unit, done, attribute = "stimuli", "recorded", "recording"

    def __init__(self, message: str, recording: Recording) -> None:
        super().__init__(message)
        self.recording = recording


class SummaryError(RuntimeError):
    """Summarizing stopped before its end; ``summary`` holds what was added up until then.

    Parameters
    ----------
    message : str
        What happened.
    summary : Summary
        All complete forward passes until then.

    Examples
    --------
    >>> import torch
    >>> from ann2neo import summarize
    >>> stimuli = torch.tensor([[1.0], [2.0], [float("nan")]])
    >>> try:
    ...     summarize(torch.nn.ReLU(), stimuli, batch_size=2)
    ... except SummaryError as error:
    ...     error.summary.n_bins
    2
    """

    unit, done, attribute = "bins", "added up", "summary"

    def __init__(self, message: str, summary: Summary) -> None:
        super().__init__(message)
        self.summary = summary


def whole_or_partial(
    run: Callable[[], Result],
    n_done: Callable[[], int],
    partial: Callable[[], Result],
    error_type: type[RecordingError | SummaryError],
) -> Result:
    """Return what a run returns; if something stops it, hand over what it did until then.

    Parameters
    ----------
    run : callable
        Does it all.
    n_done : callable
        Returns how many stimuli or bins are done.
    partial : callable
        Returns the result of these.
    error_type : type
        The error that can hold such a result.

    Returns
    -------
    Recording or Summary
        The whole; after Ctrl-C, with a warning, the part.

    Raises
    ------
    RecordingError or SummaryError
        If anything else stops the run; the error holds the part. If nothing was done, the error as it was.

    Examples
    --------
    >>> import torch
    >>> part = Summary(window=1).update({"relu": torch.ones(5, 2)})
    >>> def run():
    ...     raise OSError("disk gone")
    >>> whole_or_partial(run, lambda: part.n_bins, lambda: part, SummaryError)
    Traceback (most recent call last):
    ...
    ann2neo.model.runs.partial.SummaryError: stopped after 5 bins...: disk gone
    """
    try:
        return run()
    except KeyboardInterrupt:
        if not n_done():
            raise
        what = f"{n_done()} {error_type.unit} {error_type.done}"
        warnings.warn(f"interrupted: returning the {what} so far", stacklevel=3)
        return partial()
    except error_type:
        raise
    except Exception as error:
        if not n_done():
            raise
        make: Any = error_type
        done, where = f"{n_done()} {error_type.unit}", error_type.attribute
        raise make(f"stopped after {done}, which are in this error's .{where}: {error}", partial()) from error

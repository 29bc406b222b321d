"""All of a recording but its spikes, as a text that travels in every file format."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from ..recording.raster import PackedRows, SpikeRaster
from ..recording.recording import Recording
from ..recording.stimuli import Stimuli
from ..recording.time import PseudoTime

HEADER = "ann2neo"
"""The Block annotation that holds, as JSON, all of a recording but its spikes."""

NOTES = f'{{"{HEADER}": '
"""How the notes of our NWB files begin. Neo hands them on as the Block annotation ``notes``."""

MOST_BINS = 2**34
"""How many bins a file may say that it has. The raster of one unit then takes 2 GB."""


def train_name(layer: str, unit: int) -> str:
    """Return the name of a unit's SpikeTrain, unique in its segment.

    Examples
    --------
    >>> train_name("layer1.0.relu", 12)
    'layer1.0.relu[12]'
    """
    return f"{layer}[{unit}]"


def segment_name(trial: int, n_trials: int) -> str:
    """Return the name of a trial's Segment; names sort as the trials do.

    Examples
    --------
    >>> segment_name(7, n_trials=12)
    'trial 07'
    """
    return f"trial {trial:0{len(str(n_trials - 1))}d}"


def block_name(recording: Recording) -> str:
    """Return the name of a recording's Block: that of the model, if known."""
    return str(recording.annotations.get("model") or "recording")


def as_shown(values: np.ndarray) -> np.ndarray:
    r"""Return strings in which characters that HDF5 cannot hold are escaped; numbers as they are.

    Such characters occur: in Python, a file name that is not UTF-8 has half surrogate pairs.

    Examples
    --------
    >>> as_shown(np.array(["é", "a\udce9.png"])).tolist()
    ['é', 'a\\udce9.png']
    """
    return values if values.dtype.kind != "U" else np.array([as_text(text) for text in values.tolist()], str)


def as_text(value: Any) -> str:
    r"""Return anything as text that HDF5 can hold.

    Examples
    --------
    >>> as_text("a\udce9.png"), as_text(0.5)
    ('a\\udce9.png', '0.5')
    """
    return str(value).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")


def describe(recording: Recording) -> str:
    """Return, as ASCII JSON, all of a recording but its spikes; :func:`rebuild` reads it."""

    def compact(values: np.ndarray) -> Any:
        same = len(values) > 1 and np.array_equal(values, np.repeat(values[:1], len(values)), equal_nan=True)
        return values[0].item() if same else values.tolist()

    stimuli = recording.stimuli
    return json.dumps(
        {
            "version": 1,
            "bin_size": recording.time.bin_size,
            "trial_bins": recording.time.trial_bins,
            "layers": [
                {
                    "name": layer,
                    "shape": raster.shape,
                    "units": raster.units.tolist(),
                    "threshold": compact(raster.threshold),
                    "channel_dim": raster.channel_dim,
                }
                for layer, raster in recording.rasters.items()
            ],
            "stimuli": None
            if stimuli is None
            else {
                "onsets": stimuli.onsets.tolist(),
                "ids": stimuli.ids.tolist(),
                "labels": None if stimuli.labels is None else stimuli.labels.tolist(),
                "labels_are": None if stimuli.labels is None else stimuli.labels.dtype.kind,
                "array_annotations": {
                    name: {"are": values.dtype.kind, "values": values.tolist()}
                    for name, values in stimuli.array_annotations.items()
                },
            },
            "annotations": dict(recording.annotations),
        }
    )


def rebuild(description: str, packed: Callable[[PseudoTime, list[str]], PackedRows]) -> Recording:
    """Return the recording that :func:`describe` described.

    Parameters
    ----------
    description : str
        The JSON.
    packed : callable
        From the bins and the names of a layer's units to their packed raster; called layer by layer.

    Raises
    ------
    ValueError
        If it was written by a later ann2neo.
    """
    told = json.loads(description)
    if told["version"] != 1:
        raise ValueError(
            f"the recording is in version {told['version']} of ann2neo's format, but this ann2neo reads "
            "version 1 only: update ann2neo"
        )
    time = PseudoTime(float(told["bin_size"]), tuple(told["trial_bins"]))
    if time.n_bins > MOST_BINS:
        raise ValueError(f"the recording says that it has {time.n_bins} bins: {MOST_BINS} are possible")
    rasters = {
        of["name"]: SpikeRaster(
            packed(time, [train_name(of["name"], unit) for unit in of["units"]]),
            time,
            np.array(of["units"], np.int64),
            tuple(of["shape"]),
            np.broadcast_to(np.array(of["threshold"], np.float64), len(of["units"])).copy(),
            of.get("channel_dim", 0),
        )
        for of in told["layers"]
    }
    return Recording(rasters, _stimuli_from(told["stimuli"]), told["annotations"])


def _stimuli_from(told: dict[str, Any] | None) -> Stimuli | None:
    if told is None:
        return None
    kinds = {"i": np.int64, "f": np.float64, "U": str}
    labels = told["labels"]
    return Stimuli(
        np.array(told["onsets"], np.int64),
        np.array(told["ids"], np.int64),
        None if labels is None else np.array(labels, kinds[told["labels_are"]]),
        {
            name: np.array(each["values"], kinds[each["are"]])
            for name, each in told.get("array_annotations", {}).items()
        },
    )


def bins_of(times: np.ndarray, bin_size: float) -> np.ndarray:
    """Return the bin of each spike at a bin centre: exact over at least 10⁶ bins of any size.

    Examples
    --------
    >>> bins_of((np.arange(3) + 0.5) * 0.3, 0.3)
    array([0, 1, 2])
    """
    return np.rint(times / bin_size - 0.5).astype(np.int64)

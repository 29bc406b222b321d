"""Artificial networks as Neo spike trains, analysed with Elephant.

Record: ``record``, ``Probe`` (in a loop of your own), ``Monitor`` (during training), ``layers`` (what there
is to record), ``calibrate``, ``Quantile``, ``ZScore``.

Analyse: ``Recording``, ``SpikeRaster``, ``Stimuli``, ``PoissonFit``, ``compare`` (networks beside neurons).

Without keeping spikes: ``summarize``, ``Summary``, ``merge``.

Files: ``save``, ``load``.

More in ``ann2neo.plot``, ``ann2neo.analysis``, ``ann2neo.summary``, ``ann2neo.interop``, ``ann2neo.study``,
``ann2neo.pruning`` and ``ann2neo.lightning``, which are imported when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analysis.comparison import compare as compare
    from .analysis.poisson import PoissonFit as PoissonFit
    from .files.save_load import load as load
    from .files.save_load import save as save
    from .model.inventory import layers as layers
    from .model.monitor import Monitor as Monitor
    from .model.probe import Probe as Probe
    from .model.recorder import record as record
    from .model.runs.calibration import calibrate as calibrate
    from .model.runs.partial import RecordingError as RecordingError
    from .model.runs.partial import SummaryError as SummaryError
    from .model.summarizer import summarize as summarize
    from .recording.raster import SpikeRaster as SpikeRaster
    from .recording.recording import Recording as Recording
    from .recording.stimuli import Stimuli as Stimuli
    from .recording.threshold import Quantile as Quantile
    from .recording.threshold import ZScore as ZScore
    from .summary.summary import Summary as Summary
    from .summary.summary import merge as merge

__version__ = "0.1.0"

_HOMES = {
    "Monitor": "model.monitor",
    "PoissonFit": "analysis.poisson",
    "Probe": "model.probe",
    "Quantile": "recording.threshold",
    "Recording": "recording.recording",
    "RecordingError": "model.runs.partial",
    "SpikeRaster": "recording.raster",
    "Stimuli": "recording.stimuli",
    "Summary": "summary.summary",
    "SummaryError": "model.runs.partial",
    "ZScore": "recording.threshold",
    "calibrate": "model.runs.calibration",
    "compare": "analysis.comparison",
    "layers": "model.inventory",
    "load": "files.save_load",
    "merge": "summary.summary",
    "record": "model.recorder",
    "save": "files.save_load",
    "summarize": "model.summarizer",
}
__all__ = sorted(_HOMES)

_DOORS = ("analysis", "files", "interop", "lightning", "plot", "pruning", "recording", "study", "summary")


def __dir__() -> list[str]:
    return [*__all__, *_DOORS, "__version__"]


if not TYPE_CHECKING:  # for a type checker any name would be there

    def __getattr__(name: str) -> Any:
        """Import what is asked for: PyTorch, and so the package, takes seconds."""
        if name in _DOORS:
            try:
                return importlib.import_module(f"{__name__}.{name}")
            except ImportError as error:  # help() and tab completion go on without it
                raise AttributeError(f"{__name__}.{name} cannot be imported: {error}") from error
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = found
        return found

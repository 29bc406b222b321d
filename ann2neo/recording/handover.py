"""The staircase of :class:`~ann2neo.Recording`: methods that call functions of upper wings.

Each method is one import and one call. Users chain them. Code inside the package never uses them: it calls
the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import neo
    import pynapple
    import xarray
    from elephant.conversion import BinnedSpikeTrain
    from typing_extensions import Self

    from ..analysis.modulation import ModulatedFit
    from ..summary.summary import Summary


class RecordingHandover:
    """What a recording becomes elsewhere."""

    def to_neo(self: Any) -> neo.Block:
        """Return the recording as a Neo Block: :func:`ann2neo.interop.neo_block.to_neo`."""
        from ..interop.neo_block import to_neo

        return to_neo(self)

    @classmethod
    def from_neo(cls, block: neo.Block, bin_size: Any = None) -> Self:
        """Return a Neo Block as a recording: :func:`ann2neo.interop.neo_block.from_neo`."""
        from ..interop.neo_block import from_neo

        return from_neo(block, bin_size)  # type: ignore[return-value]

    def to_binned(self: Any) -> BinnedSpikeTrain:
        """Return the recording as Elephant's binned trains: :func:`ann2neo.interop.libraries.to_binned`."""
        from ..interop.libraries import to_binned

        return to_binned(self)

    def to_pynapple(self: Any) -> pynapple.TsGroup:
        """Return the recording as pynapple's time stamps: :func:`ann2neo.interop.libraries.to_pynapple`."""
        from ..interop.libraries import to_pynapple

        return to_pynapple(self)

    def to_xarray(self: Any) -> xarray.DataArray:
        """Return the recording as a labelled array: :func:`ann2neo.interop.libraries.to_xarray`."""
        from ..interop.libraries import to_xarray

        return to_xarray(self)

    def summarize(
        self: Any, window: int | None = None, engine: str = "raster", progress: bool = False
    ) -> Summary:
        """Return the statistics of all units: :func:`ann2neo.summary.summarize_recording`."""
        from ..summary.of_recording import summarize_recording

        return summarize_recording(self, window, engine, progress)

    def fit_modulated(self: Any, by: str = "labels") -> ModulatedFit:
        """Fit rates by class or by trial to each unit: :func:`ann2neo.analysis.fit_modulated`."""
        from ..analysis.modulation import fit_modulated

        return fit_modulated(self, by)

    def surrogate(self, method: str = "stimuli", *, dt: Any = None, seed: int = 0) -> Self:
        """Return a recording of the same rates, units independent: :func:`ann2neo.analysis.surrogate`."""
        from ..analysis.surrogates import surrogate

        return surrogate(self, method, dt=dt, seed=seed)  # type: ignore[arg-type, return-value]

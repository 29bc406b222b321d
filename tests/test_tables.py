"""Tables and arrays belong to whoever asked for them: to change one changes nothing else."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from ann2neo import Monitor, Recording, SpikeRaster, Stimuli, Summary
from ann2neo.analysis.modulation import ModulatedFit
from ann2neo.analysis.poisson import PoissonFit

MADE_WITH = {"expected": ("poisson",), "correlation": ("conv",), "complexity": ("conv",), "raster": ("conv",)}
"""What to give to methods that need arguments."""

NEVER_CALLED = {"update", "receive", "load_state_dict", "complete"}
"""They change the object itself, as they should."""


def recording():
    rng = np.random.default_rng(0)
    dense = rng.random((12, 200)) < rng.uniform(0.1, 0.9, (12, 1))
    rasters = {
        "conv": SpikeRaster.from_dense(dense[:8], shape=(2, 2, 2), threshold=0.5),
        "fc": SpikeRaster.from_dense(dense[8:]),
    }
    return Recording(rasters, Stimuli.in_order(200, labels=rng.integers(0, 3, 200)))


def streamed():
    x = torch.randn(200, 2, 2, 2, generator=torch.Generator().manual_seed(0))
    return Summary(window=10, isi_histogram=True).update({"conv": x, "fc": x.flatten(1)[:, :3]})


def monitor():
    watching = Monitor(window=10)
    watching.observe(nn.ReLU(), torch.randn(200, 4, generator=torch.Generator().manual_seed(0)))
    return watching


OBJECTS = {
    "Recording": recording,
    "Summary": streamed,
    "Summary by Elephant": lambda: recording().summarize(window=10, engine="elephant"),
    "PoissonFit": lambda: streamed().fit_poisson(),
    "ModulatedFit": lambda: recording().fit_modulated(),
    "Monitor": monitor,
}

TABLES = {
    Recording: {"units"},
    Summary: {"places", "units", "layers", "expected", "correlation"},
    PoissonFit: {"units", "reasons", "layers", "untested"},
    ModulatedFit: {"units", "rates"},
    Monitor: {"table"},
}
"""What the search below has to find at least, for it to be a search."""


def handed_out(thing, kinds):
    """Return name → what an object hands out of these kinds, from attributes and methods that say so."""
    found = {}
    for name in dir(thing):
        if name.startswith("_") or name in NEVER_CALLED:
            continue
        value = getattr(thing, name)
        if callable(value) and any(
            kind.__name__ in str(value.__annotations__.get("return")) for kind in kinds
        ):
            value = value(*MADE_WITH.get(name, ()))
        found |= {f"{name}{part}": each for part, each in parts_of(value) if type(each) in kinds}
    return found


def parts_of(value):
    if dataclasses.is_dataclass(value):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    if hasattr(value, "items") and not isinstance(value, pd.DataFrame):
        return [(f"[{key!r}]", each) for key, each in value.items()]
    return [("", value)]


def all_of(thing):
    found = handed_out(thing, (pd.DataFrame, np.ndarray))
    return {name: each.copy() for name, each in found.items()}


def spoil(table):
    """Change a table in all ways that come to mind."""
    for column in table.columns:
        values = table[column].to_numpy()
        if values.flags.writeable and values.dtype.kind in "if":
            values[:] = 7
    if len(table):
        table.iloc[0, 0] = table.iloc[-1, 0]
    table[table.columns[-1]] = 0
    table["new"] = 1
    del table[table.columns[0]]
    table.index = table.index[::-1]


def assert_alike(found, wanted):
    assert found.keys() == wanted.keys()
    for name, each in found.items():
        if isinstance(each, pd.DataFrame):
            pd.testing.assert_frame_equal(each, wanted[name], obj=name)
        else:
            np.testing.assert_array_equal(each, wanted[name], name)


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_tables_are_the_callers_own(make):
    thing = make()
    wanted = all_of(thing)
    tables = handed_out(thing, (pd.DataFrame,))
    assert TABLES[type(thing)] <= tables.keys()
    for name in tables:
        spoil(handed_out(thing, (pd.DataFrame,))[name])
        assert_alike(all_of(thing), wanted)


@pytest.mark.parametrize("name", ["Summary", "Summary by Elephant", "PoissonFit", "ModulatedFit"])
def test_arrays_are_read_only_or_copies(name):
    thing = OBJECTS[name]()
    wanted = all_of(thing)
    for array in handed_out(thing, (np.ndarray,)).values():
        if array.flags.writeable and array.size:
            array[...] = array.flat[-1] if array.dtype.kind in "OU" else 1
            assert_alike(all_of(thing), wanted)


def test_that_both_can_fail():
    class Careless:
        def __init__(self):
            self.units = pd.DataFrame({"unit": [0, 1], "rate": [0.5, 0.6]})
            self.values = np.arange(3)

    thing = Careless()
    wanted = all_of(thing)
    spoil(handed_out(thing, (pd.DataFrame,))["units"])
    with pytest.raises(AssertionError):
        assert_alike(all_of(thing), wanted)
    thing = Careless()
    handed_out(thing, (np.ndarray,))["values"][...] = 1
    with pytest.raises(AssertionError):
        assert_alike(all_of(thing), wanted)


def test_the_order_of_asking_does_not_matter():
    """A column of the units that a user changes does not come into the layers, as it once did."""
    summary, untouched = streamed(), streamed()
    units = summary.units
    units["mean_firing_rate"] = 0
    pd.testing.assert_frame_equal(summary.layers, untouched.layers)
    assert (summary.units.mean_firing_rate > 0).any()


def test_values_cannot_be_assigned():
    summary = streamed()
    with pytest.raises(TypeError):
        summary.values["fano_factor"] = np.zeros(11)
    with pytest.raises(ValueError, match="read-only"):
        summary.values["fano_factor"][0] = 0
    with pytest.raises(ValueError, match="read-only"):
        summary.sums.n_spikes[0] = 0


def test_a_state_dict_is_the_callers_own():
    summary = streamed()
    summary.annotations["classes"] = ["a", "b"]
    wanted = all_of(summary)
    state = summary.state_dict()
    loaded = Summary.from_state_dict(state)
    for tensor in [state["complexity"], *(v for layer in state["layers"] for v in layer.values())]:
        if isinstance(tensor, torch.Tensor):
            tensor.fill_(1)
    state["settings"]["annotations"]["classes"].append("c")
    for each in (summary, loaded):
        assert_alike(all_of(each), wanted)
        assert each.annotations == {"classes": ["a", "b"]}

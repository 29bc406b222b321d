"""Random recordings for Hypothesis: small, and odd wherever a recording may be odd."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ann2neo.recording.raster import SpikeRaster
from ann2neo.recording.recording import Recording
from ann2neo.recording.stimuli import Stimuli
from ann2neo.recording.time import PseudoTime

# no file keeps half a surrogate pair; HDF5 and NumPy end a string at its first NUL
CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=8)
AWKWARD = st.sampled_from(
    [
        "",
        " ",
        "layer1.0.relu",
        "a/b:c d",
        "ä" * 40,
        "z" * 70,
        "层",
        "🧠 ",
        "a[1]",
        "_x",
        "1",
        "None",
        "x_units",
    ]
)
FLOATS = st.floats(width=64) | st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324])
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | FLOATS | TEXT | AWKWARD
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
KEYS = (
    TEXT
    | AWKWARD
    | st.sampled_from(
        [
            "model",
            "name",
            "description",
            "nix_name",
            "neo_name",
            "ann2neo",
            "bin_size",
            "recorded_at",
            "units",
        ]
    )
)


@st.composite
def times(draw, max_bins: int = 20) -> PseudoTime:
    """Any bin size, one to four trials of any length."""
    bin_size = draw(st.sampled_from([1.0, 0.1, 0.3, 1 / 3, 1e-3, 1000.0, 7.7]) | st.floats(1e-4, 1e5))
    trials = draw(st.lists(st.integers(1, max(1, max_bins // 4)), min_size=1, max_size=4))
    return PseudoTime(bin_size, tuple(trials))


@st.composite
def rasters(draw, time: PseudoTime, max_units: int = 5) -> SpikeRaster:
    """Units sampled from a flat or convolutional layer, in any order; some silent, some always on."""
    shape = draw(st.sampled_from([(1,), (5,), (300,), (2, 3, 4), (1, 1, 1), (3, 7)]))
    n = int(np.prod(shape))
    units = draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=min(n, max_units), unique=True))
    dense = draw(arrays(bool, (len(units), time.n_bins)))
    threshold = draw(FLOATS | st.lists(FLOATS, min_size=len(units), max_size=len(units)))
    return SpikeRaster.from_dense(dense, time=time, units=units, shape=shape, threshold=threshold)


@st.composite
def stimuli(draw, time: PseudoTime) -> Stimuli:
    """One stimulus every few bins, labelled with integers, numbers, strings or nothing."""
    n_steps = draw(st.integers(1, time.n_bins))
    n = -(-time.n_bins // n_steps)
    values = draw(st.sampled_from([st.none(), INTEGERS, FLOATS, TEXT | AWKWARD]))
    labels = draw(st.lists(values, min_size=n, max_size=n))
    ids = draw(st.lists(INTEGERS, min_size=n, max_size=n))
    lengths = [n_steps] * n
    if n > 1 and n_steps > 1 and draw(st.booleans()):  # not all alike
        lengths[0] -= 1
    kinds = st.sampled_from([INTEGERS, FLOATS, TEXT | AWKWARD])
    names = st.sets(
        st.sampled_from(["file", "größe", "x" * 40, "_", "id", "id_", "description", "tags"]), max_size=2
    )
    more = {name: draw(st.lists(draw(kinds), min_size=n, max_size=n)) for name in draw(names)}
    labels = None if None in labels else labels
    return Stimuli.in_order(n, n_steps=lengths, ids=ids, labels=labels, array_annotations=more)


@st.composite
def recordings(draw, max_layers: int = 3, max_units: int = 5, max_bins: int = 20) -> Recording:
    """Any recording, of at most ``max_layers`` layers of ``max_units`` units each."""
    time = draw(times(max_bins))
    names = draw(st.lists(TEXT | AWKWARD, min_size=1, max_size=max_layers, unique=True))
    return Recording(
        {name: draw(rasters(time, max_units)) for name in names},
        draw(st.none() | stimuli(time)),
        draw(st.dictionaries(KEYS, JSON, max_size=4)),
    )

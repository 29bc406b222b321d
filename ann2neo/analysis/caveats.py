"""What to keep in mind when reading the numbers: each fact is written once, here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..recording.neurons import of_neurons

BERNOULLI = (
    "A bin holds one spike at most. Over n windows, independent bins of spike probability p give a Fano "
    "factor of (n−1)/n·(1−p), a Poisson process (n−1)/n; their CVs are √(1−p) and 1."
)

SHUFFLED = (
    "Shuffled stimuli make a unit's train exchangeable: its Fano factor and CV then tell nothing beyond p. "
    "Networks differ in how p is distributed over units."
)

SORTED = "Stimuli sorted by class raise the Fano factor: an effect of order."

REPEATS = (
    "A network's Fano factor is taken over different stimuli. A cortical neuron's is usually taken over "
    "repeats of one stimulus, where a deterministic network has 0. Never equate the two."
)

PSEUDO_TIME = "A bin of pseudo-time is a convention, and so is every rate of a network in Hz."

BINS_OF_NEURONS = (
    "A neuron's bin is a choice, and a longer one has a larger p: compare each Fano factor with that of "
    "independent bins of the same length."
)

NETWORKS = f"{SHUFFLED} {BERNOULLI} {PSEUDO_TIME}"
"""For networks alone."""

NEURONS = f"{BERNOULLI} {BINS_OF_NEURONS}"
"""For neurons alone."""

NETWORKS_AND_NEURONS = f"{REPEATS} {BERNOULLI} {BINS_OF_NEURONS} {PSEUDO_TIME}"
"""For networks that stand beside neurons."""


def caveats_of(annotations: Iterable[Mapping[str, Any]]) -> str:
    """Return what to keep in mind of recordings with these annotations: of networks, of neurons, of both.

    Examples
    --------
    >>> caveats_of([{"model": "mouse", "n_spikes_merged": 0}]) == NEURONS
    True
    """
    kinds = {of_neurons(each) for each in annotations}
    return NETWORKS_AND_NEURONS if len(kinds) > 1 else NEURONS if True in kinds else NETWORKS

"""What to keep in mind when reading the numbers: each fact is written once, here."""

BERNOULLI = (
    "A bin holds one spike at most. Independent bins of spike probability p give a Fano factor of 1 − p and "
    "a CV of √(1 − p); a Poisson process gives 1."
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
    "A neuron's bin is a choice, and a longer one has a larger p: compare each Fano factor with the 1 − p of "
    "its own bins."
)

FINITE = (
    "Variances have ddof = 0: over n windows, Fano / (1 − p) of independent bins is (n − 1) / n on average."
)

NETWORKS_AND_NEURONS = f"{REPEATS} {BERNOULLI} {BINS_OF_NEURONS} {PSEUDO_TIME}"
"""For networks that stand beside neurons."""

"""Networks of spiking neurons: found by default, steps as bins, loops inside and outside of the model."""

import numpy as np
import pytest
import torch

import ann2neo

from . import special
from .capture import first_tensor
from .checks import built, check, recorded
from .models import N_STIMULI
from .special import N_STEPS, Loop, currents

pytestmark = pytest.mark.zoo

BATCH_SIZE = 6
"""Batches of one size, so that what one leaves would fit the next."""
NEURONS = ("1", "3")
FOR_ONE_STEP = {"snntorch": special.snntorch, "spikingjelly": special.spikingjelly}
FOR_ALL_STEPS = {"norse": special.norse_of_steps, "spikingjelly": special.spikingjelly_of_steps}


def spikes_in_steps(network, step, n_steps):
    """Run steps, and return what the neurons give, (n_stimuli, n_steps, n_units), by plain hooks."""
    given = {name: [] for name in NEURONS}
    handles = [
        network[int(name)].register_forward_hook(
            lambda module, args, out, name=name: given[name].append(first_tensor(out).detach().clone())
        )
        for name in NEURONS
    ]
    with torch.no_grad():
        for t in range(n_steps):
            step(t)
    for handle in handles:
        handle.remove()
    found = {name: torch.stack(steps, 1) for name, steps in given.items()}
    assert all(0 < value.mean() < 1 for value in found.values())
    return found


def by_batch(network, reset, x):
    """Return the spikes of a network that starts anew in each batch."""
    parts = []
    for batch in x.split(BATCH_SIZE):
        reset()
        parts.append(spikes_in_steps(network, lambda t, b=batch: network(b[:, t]), N_STEPS))
    reset()
    return {name: torch.cat([part[name] for part in parts]) for name in NEURONS}


@pytest.fixture(params=FOR_ONE_STEP)
def stateful(request):
    """Return a network for one step, its reset, and its state."""
    return built(request.param, FOR_ONE_STEP[request.param])


# -- found by default, reset, and left as they were --------------------------------------------------


@pytest.mark.parametrize(
    "library",
    ["snntorch", "spikingjelly"],
)
def test_neurons_are_found(library):
    network, reset, _ = built(library, FOR_ONE_STEP[library])
    x = currents()[:BATCH_SIZE]
    expected = by_batch(network, reset, x)
    recording, _ = recorded(Loop(network), x, time_dim="calls")
    check(recording, {f"network.{name}": value for name, value in expected.items()}, n_bin_dims=2)


def test_each_batch_starts_anew(stateful):
    network, reset, _ = stateful
    expected = by_batch(network, reset, currents())
    recording, _ = recorded(
        Loop(network), currents(), ["network.1", "network.3"], time_dim="calls", batch_size=BATCH_SIZE
    )
    check(recording, {f"network.{name}": value for name, value in expected.items()}, n_bin_dims=2)


def test_the_state_is_as_it_was(stateful):
    network, reset, state = stateful
    reset()
    with torch.no_grad():
        network(currents()[:3, 0])  # three stimuli of the user's own
    before = [value.clone() for value in state()]
    recorded(Loop(network), currents()[:BATCH_SIZE], ["network.1", "network.3"], time_dim="calls")
    assert all(torch.equal(value, was) for value, was in zip(state(), before, strict=True))


# -- steps first -------------------------------------------------------------------------------------


def of_steps_first(network, x):
    """Return the neurons' spikes, (n_stimuli, n_steps, n_units), for stimuli (n_steps, n_stimuli, 6)."""
    given = {}
    handles = [
        network[int(name)].register_forward_hook(
            lambda module, args, out, name=name: given.update({name: first_tensor(out).detach().clone()})
        )
        for name in NEURONS
    ]
    with torch.no_grad():
        network(x)
    for handle in handles:
        handle.remove()
    found = {name: value.transpose(0, 1) for name, value in given.items()}
    assert all(0 < value.mean() < 1 for value in found.values())
    return found


@pytest.mark.parametrize("library", FOR_ALL_STEPS)
def test_neurons_that_take_all_steps_are_found(library):
    x = currents().transpose(0, 1)
    expected = of_steps_first(built(library, FOR_ALL_STEPS[library]), x)
    recording, _ = recorded(built(library, FOR_ALL_STEPS[library]), x, time_dim=0, batch_size=1000)
    check(recording, expected, n_bin_dims=2)


@pytest.mark.parametrize("library", FOR_ALL_STEPS)
def test_neurons_that_take_all_steps_are_recorded_by_name(library):
    x = currents().transpose(0, 1)
    expected = of_steps_first(built(library, FOR_ALL_STEPS[library]), x)
    recording, _ = recorded(
        built(library, FOR_ALL_STEPS[library]), x, list(NEURONS), time_dim=0, batch_size=1000
    )
    check(recording, expected, n_bin_dims=2)
    np.testing.assert_array_equal(recording.stimuli.onsets, N_STEPS * np.arange(N_STIMULI))


def test_batches_are_cut_along_the_stimuli():
    network, x = built("norse", special.norse_of_steps), currents().transpose(0, 1)
    expected = of_steps_first(network, x)
    recording, _ = recorded(network, x, list(NEURONS), time_dim=0, batch_size=BATCH_SIZE)
    assert len(recording.stimuli.onsets) == N_STIMULI
    check(recording, expected, n_bin_dims=2)


def test_labels_are_one_a_stimulus():
    network, x = built("norse", special.norse_of_steps), currents().transpose(0, 1)
    labels = np.arange(N_STIMULI) % 3
    recording, _ = recorded(network, x, list(NEURONS), time_dim=0, labels=labels, batch_size=1000)
    np.testing.assert_array_equal(recording.stimuli.labels, labels)


# -- a loop around the model -------------------------------------------------------------------------


def test_passes_can_be_steps_of_the_same_stimuli(stateful):
    network, reset, _ = stateful
    x = currents()
    expected = by_batch(network, reset, x)
    with ann2neo.Probe(network, list(NEURONS)) as probe, torch.no_grad():
        for batch in x.split(BATCH_SIZE):
            reset()
            with probe.stimulus():
                for t in range(N_STEPS):
                    network(batch[:, t])
    assert len(probe.recording.stimuli.onsets) == N_STIMULI
    check(probe.recording, expected, n_bin_dims=2)


def test_passes_of_a_network_that_is_given_its_state_can_be_steps():
    network = built("norse", special.norse)
    x, state = currents(), None

    def step(t):
        nonlocal state
        _, state = network(x[:, t], state)

    expected = spikes_in_steps(network, step, N_STEPS)
    state = None
    with ann2neo.Probe(network, list(NEURONS)) as probe, torch.no_grad(), probe.stimulus():
        for t in range(N_STEPS):
            step(t)
    check(probe.recording, expected, n_bin_dims=2)


def show_often(network, x):
    for _ in range(N_STEPS):
        network(x)


def test_the_same_batch_shown_several_times_is_warned_of(stateful):
    network, reset, _ = stateful
    reset()
    x = currents()[:, 0]
    with ann2neo.Probe(network, list(NEURONS)), torch.no_grad(), pytest.warns(UserWarning, match="same"):
        show_often(network, x)

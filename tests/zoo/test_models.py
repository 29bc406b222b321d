"""Every layer, unit and bin of models of other people, against plain torch hooks."""

from functools import lru_cache

import pytest

import ann2neo

from .capture import capture, cut, spikes
from .checks import built, check, quiet, recorded, to_come
from .models import BATCH_SIZE, ZOO

pytestmark = pytest.mark.zoo


@lru_cache(None)
def seen(model):
    """Return a model, its stimuli, and what its modules give."""
    network, stimuli = built(model.library, model.built)
    with quiet():
        return network, stimuli, capture(network, cut(stimuli, BATCH_SIZE))


def expected(model, network, fired):
    """Return what is an activation by the code of the model."""
    found = fired.chosen(model.activations)
    return found | (model.functions(fired.values, network) if model.functions else {})


def of_each(check_name, models=ZOO):
    """Parametrize by model; what is pending must fail, so that it is turned on when it is mended."""
    return pytest.mark.parametrize(
        "model",
        [
            pytest.param(
                each,
                id=f"{each.library}-{each.name}",
                marks=[to_come(each.pending[check_name])] if check_name in each.pending else [],
            )
            for each in models
        ],
    )


@of_each("oracle")
def test_the_oracle_sees_activations(model):
    network, _, fired = seen(model)
    for glob in model.activations:
        assert fired.chosen([glob]), glob
    for layer, activation in expected(model, network, fired).items():
        assert 0 < spikes(activation).mean() <= 1, layer


@of_each("default")
def test_by_default_the_activations_are_recorded(model):
    network, stimuli, fired = seen(model)
    activations = expected(model, network, fired)
    recording, warned = recorded(network, stimuli)
    check(recording, activations, in_order=model.functions is None)
    assert all("did not fire" in each for each in warned)


@of_each("glob")
def test_a_star_records_every_layer_that_has_the_stimuli_first_and_names_the_others(model):
    network, stimuli, fired = seen(model)
    layers = {name: value for name, value in fired.of_leaves().items() if name not in model.constant}
    if model.functions:
        layers |= model.functions(fired.values, network)
    recording, warned = recorded(network, stimuli, layers="*")
    check(recording, layers, in_order=model.functions is None)
    of_others = [each for each in warned if "did not fire" not in each]
    apart = [*fired.apart, *model.constant]
    assert len(of_others) == bool(apart)
    assert all(name in of_others[0] for name in apart)


@of_each("inventory")
def test_layers_says_what_is_recorded_by_default(model):
    network, stimuli, fired = seen(model)
    table = ann2neo.layers(network, stimuli)
    by_default = table[table.by_default].layer.tolist()
    assert sorted(by_default) == sorted(expected(model, network, fired))
    assert by_default == recorded(network, stimuli)[0].layers


@of_each("time", [each for each in ZOO if each.time_dim])
def test_each_token_or_patch_is_a_bin(model):
    network, stimuli, fired = seen(model)
    activations = expected(model, network, fired)
    n_steps = next(iter(activations.values())).shape[1]
    with_steps = {name: value for name, value in activations.items() if value.ndim == 3}
    assert all(value.shape[1] == n_steps for value in with_steps.values())
    recording, warned = recorded(network, stimuli, time_dim=model.time_dim)
    check(recording, with_steps, n_bin_dims=2)
    # a pooler has no steps
    assert all(any(name in each for each in warned) for name in activations.keys() - with_steps.keys())

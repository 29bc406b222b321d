"""Networks of the study by name, and their training."""

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import layers
from ann2neo.study.networks import ARCHITECTURES, mlp, network
from ann2neo.study.training import Training, accuracy, train

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]

PLACES = {"mlp": 3, "cnn": 4, "resnet18": 17, "vgg11": 9, "vgg11_bn": 9, "vit": 4}
"""Activations of each architecture, counted by hand: layers with ReLU or GELU."""


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_takes_every_image(name, shape):
    model = network(name, shape, 7).eval()
    images = torch.rand(3, *shape)
    outputs = model(images)
    assert outputs.shape == (3, 7)
    assert len(torch.unique(outputs)) > 7  # it does not give the same for all
    table = layers(model, images)
    assert table["by_default"].sum() == PLACES[name]


def test_weights_follow_the_seed_alone():
    before = torch.get_rng_state()
    one, same, other = (
        nn.utils.parameters_to_vector(network("cnn", (1, 8, 8), 10, s).parameters()) for s in (1, 1, 2)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_unknown_architecture_is_named():
    with pytest.raises(ValueError, match="'alexnet' is unknown: give one of mlp, cnn"):
        network("alexnet", (1, 8, 8), 10)


def test_training_is_reproducible_and_leaves_the_random_states_alone():
    x = torch.linspace(-1, 1, 60).reshape(20, 3)
    y = torch.arange(20) % 2
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    models = [mlp((3, 8, 2), seed=seed) for seed in (1, 1, 2)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        training = train(model, x, y, until=lambda m: False, epochs=2, batch_size=5, seed=seed)
        assert training == Training(2, False)
    first, second, other = (nn.utils.parameters_to_vector(model.parameters()) for model in models)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]


def test_accuracy_leaves_each_module_in_the_mode_it_was_in():
    """A frozen normalization inside a model in training mode; its running mean stays, too."""
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Dropout(0.9), nn.Linear(108, 2)
    ).train()
    model[1].eval()
    model[2].eval()
    before = {name: m.training for name, m in model.named_modules()}
    mean = model[1].running_mean.clone()
    x, y = torch.rand(20, 1, 8, 8), torch.zeros(20).long()
    assert accuracy(model, x, y) == accuracy(model, x, y)  # without dropout
    assert {name: m.training for name, m in model.named_modules()} == before
    assert set(before.values()) == {True, False}
    assert torch.equal(model[1].running_mean, mean)
    broken = nn.Sequential(model, nn.Linear(3, 2))
    with pytest.raises(RuntimeError, match="shapes"):
        accuracy(broken, x, y)
    assert {name: m.training for name, m in model.named_modules()} == before


def test_training_stops_at_its_goal():
    asked = []

    def third_time(model):
        asked.append(model)
        return len(asked) == 3

    model = mlp((3, 2))
    training = train(model, torch.ones(4, 3), torch.zeros(4).long(), until=third_time, epochs=9)
    assert training == Training(3, True)
    assert all(each is model for each in asked)


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_separable_problem_is_learned(optimizer):
    x = torch.eye(4).repeat(5, 1)
    y = torch.arange(4).repeat(5)
    model = mlp((4, 16, 4))
    training = train(
        model,
        x,
        y,
        until=lambda m: accuracy(m, x, y) == 1,
        epochs=200,
        batch_size=5,
        learning_rate=0.05,
        optimizer=optimizer,
    )
    assert training.reached
    assert training.epochs < 200


def test_one_step_is_that_of_torch():
    """Adam without decay, and SGD at the start of its cosine, by torch's own optimizers."""
    x, y = torch.rand(6, 3), torch.arange(6) % 2
    for name, make in (
        ("adam", lambda p: torch.optim.Adam(p, lr=0.1)),
        ("sgd", lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ):
        ours, theirs = mlp((3, 5, 2), 1), mlp((3, 5, 2), 1)
        train(ours, x, y, until=lambda m: False, epochs=1, batch_size=6, learning_rate=0.1, optimizer=name)
        nn.functional.cross_entropy(theirs(x), y).backward()
        make(theirs.parameters()).step()
        for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_sgd_has_cooled_down_in_its_last_epoch():
    x, y = torch.rand(6, 3), torch.arange(6) % 2
    moved = []
    model = mlp((3, 5, 2), 1)
    last = [nn.utils.parameters_to_vector(model.parameters())]

    def until(model):
        now = nn.utils.parameters_to_vector(model.parameters()).clone()
        moved.append((now - last[0]).norm().item())
        last[0] = now
        return False

    train(model, x, y, until=until, epochs=20, batch_size=6, optimizer="sgd", learning_rate=0.1)
    assert moved[-1] < 0.1 * max(moved)


def test_labels_of_the_epoch_are_learned():
    asked = []

    def labels(epoch):
        asked.append(epoch)
        return torch.zeros(4).long()

    train(mlp((3, 2)), torch.ones(4, 3), labels, until=lambda m: False, epochs=3)
    assert asked == [1, 2, 3]


def test_a_training_that_diverges_ends_and_says_so():
    x = torch.full((4, 3), 1e30)
    training = train(
        mlp((3, 8, 2)),
        x,
        torch.arange(4) % 2,
        until=lambda m: False,
        epochs=9,
        learning_rate=1e10,
        optimizer="sgd",
    )
    assert training.diverged
    assert not training.reached
    assert training.epochs < 9


def test_weights_that_the_last_step_made_infinite_are_told_before_anyone_looks():
    asked = []
    training = train(
        mlp((3, 8, 2)),
        torch.full((4, 3), 1e5),
        torch.arange(4) % 2,
        until=lambda m: bool(asked.append(m)),
        epochs=5,
        learning_rate=1e38,
        optimizer="sgd",
    )
    assert (training.epochs, training.diverged, asked) == (1, True, [])


def test_an_unknown_optimizer_is_named():
    with pytest.raises(ValueError, match="'lion': give one of"):
        train(mlp((3, 2)), torch.ones(4, 3), torch.zeros(4).long(), until=bool, epochs=1, optimizer="lion")


def test_weight_decay_shrinks_weights():
    x, y = torch.zeros(4, 3), torch.arange(4) % 2
    norms = []
    for decay in (0.0, 0.5):
        model = mlp((3, 8, 2))
        train(model, x, y, until=lambda m: False, epochs=20, weight_decay=decay, learning_rate=0.01)
        norms.append(model.linear1.weight.norm().item())
    assert norms[1] == pytest.approx(norms[0] * (1 - 0.5 * 0.01) ** 20, rel=1e-3)

"""Pruning by firing: nothing lost with silent units, biases against closed forms, masks against torch's."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

import ann2neo
from ann2neo.pruning import Prunable, importance, prunable, prune
from ann2neo.study.networks import network


def images(n=120, size=8, seed=0):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(seed))


def mlp(seed=0):
    return network("mlp", (1, 8, 8), 10, seed).eval()


@torch.no_grad()
def silenced(model, module, rows):
    """Make some units silent for every image."""
    model.get_submodule(module).bias[rows] = -1e3


@torch.no_grad()
def output(model, x):
    return model.eval()(x)


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("mlp", [("relu1", "linear1", None), ("relu2", "linear2", None), ("relu3", "linear3", None)]),
        ("cnn", [(f"relu{i}", f"conv{i}", None) for i in (1, 2, 3)] + [("relu4", "linear1", None)]),
    ],
)
def test_layers_are_found(name, layers):
    found = prunable(network(name, (1, 8, 8), 10), images(1))
    assert [(each.layer, each.module, each.norm) for each in found] == layers


def test_normalizations_and_residual_blocks():
    vgg = prunable(network("vgg11_bn", (1, 32, 32), 10), images(1, 32))
    assert vgg[0] == Prunable("features.2", "features.0", "features.1", 64)
    assert len(vgg) == 9
    # a block calls its one ReLU twice, the second time on a sum: only the stem's units can go alone
    resnet = prunable(network("resnet18", (1, 16, 16), 10), images(1, 16))
    assert [each.module for each in resnet] == ["conv1"]


class Residual(nn.Module):
    """Adds in place, so that the tensor that fires is the one that the second layer made."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.relu1, self.relu2 = (
            nn.Linear(6, 6),
            nn.Linear(6, 6),
            nn.ReLU(True),
            nn.ReLU(),
        )

    def forward(self, x):
        hidden = self.two(self.relu1(self.one(x)))
        hidden += x
        return self.relu2(hidden)


def test_units_that_are_added_to_others_before_they_fire_cannot_go():
    assert [each.layer for each in prunable(Residual(), torch.ones(1, 6))] == ["relu1"]


class PreActivation(nn.Module):
    """Reads a layer before it fires, too."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.relu, self.out = nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)

    def forward(self, x):
        hidden = self.one(x)
        return {"logits": self.out(hidden + self.two(self.relu(hidden)))}


class TwoActivations(nn.Module):
    def __init__(self, twice):
        super().__init__()
        self.one, self.two, self.relu, self.tanh = nn.Linear(6, 6), nn.Linear(6, 6), nn.ReLU(), nn.Tanh()
        self.twice = twice

    def forward(self, x):
        if self.twice:
            return self.tanh(self.one(self.relu(self.one(x))))
        hidden = self.one(x)
        return self.two(self.relu(hidden)) + self.tanh(hidden)


@pytest.mark.parametrize(
    "model",
    [
        PreActivation(),
        TwoActivations(twice=False),
        TwoActivations(twice=True),
        nn.Sequential(nn.Conv1d(6, 4, 1), nn.BatchNorm1d(4, affine=False), nn.ReLU()),
        nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()),
        nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)), nn.ReLU()),
    ],
    ids=["read before", "two readers", "called twice", "not affine", "norm of time", "parametrized"],
)
def test_units_that_cannot_go_alone_are_not_offered(model):
    """A normalization without a bias of its own, or of time steps, would wake removed units up."""
    assert prunable(model, torch.rand(2, 6, 6)) == []


def test_frozen_models_and_one_without_gradient_are_fine():
    model = mlp().requires_grad_(requires_grad=False)
    assert len(prunable(model, images(1))) == 3
    in_place = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    assert len(prunable(in_place.requires_grad_(requires_grad=False), torch.rand(1, 3))) == 1


def test_one_unit_at_least_is_left_and_the_model_can_be_copied():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    table = prune(model, torch.rand(20, 3), np.float32(0.9), fold=False)
    assert table["n_removed"].tolist() == [3]
    again = copy.deepcopy(model)
    x = torch.rand(5, 3)
    assert torch.equal(output(again, x), output(model, x))


@pytest.mark.parametrize("name", ["mlp", "cnn", "vgg11_bn"])
@pytest.mark.parametrize("fold", [True, False])
def test_silent_units_are_removed_at_no_loss(name, fold):
    size = 32 if name == "vgg11_bn" else 8
    model, x = network(name, (1, size, size), 10).eval(), images(20, size)
    first = {"mlp": "linear1", "cnn": "conv2", "vgg11_bn": "features.1"}[name]
    silenced(model, first, [3, 5])
    before = output(model, x)
    table = prune(model, x, "silent", fold=fold)
    assert (table["n_removed"] == table["n_silent"]).all()
    assert table["n_removed"].max() >= 2
    torch.testing.assert_close(output(model, x), before, rtol=0, atol=1e-6)
    removed = model.get_submodule(first)
    assert (removed.weight[[3, 5]] == 0).all()
    assert (removed.bias[[3, 5]] == 0).all()


def test_scores_are_those_of_the_rasters():
    model, x = network("cnn", (1, 8, 8), 10, seed=1).eval(), images()
    layers, names = prunable(model, x[:1]), [f"relu{i}" for i in (1, 2, 3, 4)]
    summary = ann2neo.summarize(model, x, names)
    recording = ann2neo.record(model, x, names)
    for each in layers:
        weight = model.get_submodule(each.module).weight.detach()
        dense = recording.raster(each.layer).reshape(each.n_units, -1, len(x))
        length = np.sqrt((weight.flatten(1).numpy() ** 2).sum(axis=1))
        by_place = dense.mean(axis=2)
        expected = {
            "rate": by_place.mean(axis=1),
            "variance": dense.var(axis=2).mean(axis=1),
            "rate_weight": by_place.mean(axis=1) * length,
            "magnitude": length,
        }
        for score, of_units in expected.items():
            found = importance(model, summary, layers, score)[each.module]
            assert found.shape == weight.shape
            np.testing.assert_allclose(found.flatten(1)[:, 0], of_units, rtol=1e-5)
            np.testing.assert_allclose(found.flatten(1)[:, -1], of_units, rtol=1e-5)


def test_units_of_lowest_score_go_and_those_gone_stay_gone():
    model, x = mlp(), images()
    rates = ann2neo.summarize(model, x, ["relu1", "relu2", "relu3"]).units
    p = rates.loc[rates["layer"] == "relu1", "activation_probability"].to_numpy()
    table = prune(model, x, 0.25, fold=False)
    assert table["n_removed"].tolist() == [64, 64, 32]
    gone = (model.linear1.weight == 0).all(dim=1).numpy()
    assert gone.sum() == 64
    assert p[gone].max() <= p[~gone].min()
    prune(model, x, 0.5, "random", fold=False, seed=3)
    gone_now = (model.linear1.weight == 0).all(dim=1).numpy()
    assert gone_now.sum() == 128
    assert gone_now[gone].all()


def test_magnitude_is_torch_s_own_structured_pruning():
    ours, theirs, x = mlp(2), mlp(2), images()
    prune(ours, x, 0.3, "magnitude", fold=False)
    for name in ("linear1", "linear2", "linear3"):
        torch_prune.ln_structured(theirs.get_submodule(name), "weight", 0.3, n=2, dim=0)
        assert torch.equal(ours.get_submodule(name).weight, theirs.get_submodule(name).weight)


def test_scores_plug_into_torch_s_global_pruning():
    model, x = mlp(3), images()
    layers = prunable(model, x[:1])
    scores = importance(model, ann2neo.summarize(model, x, ["relu1", "relu2", "relu3"]), layers)
    weights = [(model.get_submodule(each.module), "weight") for each in layers]
    torch_prune.global_unstructured(
        weights,
        pruning_method=torch_prune.L1Unstructured,
        importance_scores={
            (module, "weight"): scores[e.module] for (module, _), e in zip(weights, layers, strict=True)
        },
        amount=0.5,
    )
    kept = sum(int((module.weight != 0).sum()) for module, _ in weights)
    assert kept == pytest.approx(0.5 * sum(module.weight.numel() for module, _ in weights), rel=1e-3)


def test_biases_make_up_for_removed_units_on_average():
    """Against the closed form of the second layer: b + W ⟨x⟩ of what was removed."""
    model, x = mlp(4), images()
    original = copy.deepcopy(model)
    prune(model, x, 0.4, "magnitude")
    with torch.no_grad():
        hidden = original.relu1(original.linear1(original.flatten(x)))
        gone = (model.linear1.weight == 0).all(dim=1)
        bias = original.linear2.bias + original.linear2.weight[:, gone] @ hidden.mean(dim=0)[gone]
        kept = ~(model.linear2.weight == 0).all(dim=1)
        torch.testing.assert_close(model.linear2.bias[kept], bias[kept])
        assert (model.linear2.bias[~kept] == 0).all()
        mean = output(model, x).mean(dim=0)
        torch.testing.assert_close(mean, output(original, x).mean(dim=0), atol=1e-5, rtol=0)
    without = copy.deepcopy(original)
    prune(without, x, 0.4, "magnitude", fold=False)
    error = (output(model, x) - output(original, x)).square().mean()
    assert error < (output(without, x) - output(original, x)).square().mean()


def test_feature_maps_and_normalizations_keep_their_means():
    for name, size in (("cnn", 8), ("vgg11_bn", 32)):
        model, x = network(name, (1, size, size), 10, seed=5).eval(), images(24, size)
        before = output(model, x).mean(dim=0)
        prune(model, x, 0.3, "random")
        torch.testing.assert_close(output(model, x).mean(dim=0), before, atol=1e-5, rtol=0)


def test_a_pruned_model_trains_on_and_is_otherwise_as_it_was():
    model, x = mlp(6).train(), images()
    model.relu2.eval()
    state = torch.get_rng_state()
    prune(model, x, 0.5)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.relu2.training
    assert not any(module._forward_hooks for module in model.modules())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    model(x)
    assert int((model.linear1.weight == 0).all(dim=1).sum()) == 128
    for name in ("weight", "bias"):
        torch_prune.remove(model.linear1, name)
    assert int((model.linear1.weight == 0).all(dim=1).sum()) == 128


def test_pruning_leaves_each_module_in_the_mode_it_was_in():
    """A frozen normalization inside a model in training mode."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64, 2)),
    ).train()
    model[1].eval()
    before = {name: module.training for name, module in model.named_modules()}
    assert len(prune(model, images(4), 0.3)) == 2
    assert {name: module.training for name, module in model.named_modules()} == before
    assert [before["1"], before["4"]] == [False, True]


def test_units_over_time_are_those_of_the_last_dimension():
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    silenced(model, "0", [4])
    x = torch.rand(30, 6, 6)
    table = prune(model, x, "silent")
    assert (model[0].weight[4] == 0).all()
    assert table["n_removed"][0] == table["n_silent"][0] >= 1


def test_bad_input_is_named():
    x = images()
    for amount in (1.0, -0.1, "all", None):
        with pytest.raises(ValueError, match=r"amount=.*: give a fraction"):
            prune(mlp(), x, amount)
    with pytest.raises(ValueError, match="score='weight': give one of rate, variance"):
        prune(mlp(), x, 0.5, "weight")
    with pytest.raises(ValueError, match="no layer of this model can lose units"):
        prune(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), x, 0.5)
    model = mlp()
    layers = prunable(model, x[:1])
    with pytest.raises(ValueError, match="10 of the 256 units of layer 'relu1', but scores need all"):
        importance(model, ann2neo.summarize(model, x, units=10), layers)
    with pytest.raises(ValueError, match="no layer 'relu2', only"):
        importance(model, ann2neo.summarize(model, x, ["relu1", "relu3"]), layers)


# -- outputs and gates -------------------------------------------------------------------------------


def heads():
    torch.manual_seed(0)
    return {
        "sigmoid": nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4), nn.Sigmoid()),
        "and pooled": nn.Sequential(
            *(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        ),
        "and normalized": nn.Sequential(
            *(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.LayerNorm(4)),
            nn.Softmax(1),
        ),
        "map by map": nn.Sequential(
            *(nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.ReLU()),
            *(nn.Conv2d(4, 4, 1, groups=4), nn.Flatten()),
        ),
    }


@pytest.mark.parametrize("name", heads())
def test_the_output_of_a_model_is_not_pruned(name):
    model, x = heads()[name].eval(), torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert len(prunable(model, x[:1])) == 1
    assert prunable(model, x[:1])[0].n_units == 6
    prune(model, x, 0.9)
    assert (output(model, x).flatten(1).std(0) > 0).any()
    last = (
        model[2] if name == "sigmoid" else [m for m in model if hasattr(m, "weight") and m.weight.ndim > 1][1]
    )
    assert not hasattr(last, "weight_mask")


class Gated(nn.Module):
    """A gate without the name of one; ``inner`` makes it from what it multiplies, if there is one."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(1)
        self.kind = kind
        self.first, self.act = nn.Conv2d(1, 6, 3), nn.ReLU(inplace=kind == "in place")
        self.squeeze, self.inner = nn.Conv2d(6, 3, 1), nn.ReLU()
        self.widen, self.curve = nn.Conv2d(3, 6, 1), nn.Sigmoid()
        self.branch, self.other = nn.Conv2d(1, 6, 3), nn.Tanh()
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        hidden = self.act(self.first(x))
        if self.kind == "branches":
            return self.last(hidden * self.other(self.branch(x)))
        if self.kind == "a constant":
            return self.last(self.other(self.branch(x)) * 2 * torch.arange(1.0, 7)[:, None, None] + hidden)
        if self.kind == "squared":
            return self.last(hidden * hidden + self.other(self.branch(x)).square())
        if self.kind == "halves":
            one, two = hidden.chunk(2, 1)
            return self.last(torch.cat([one * two, one], 1))
        if self.kind == "glu":
            return self.last(torch.cat([nn.functional.glu(hidden, 1)] * 2, 1))
        gate = self.curve(self.widen(self.inner(self.squeeze(hidden.mean((2, 3), keepdim=True)))))
        if self.kind == "in place":
            return self.last(hidden.mul_(gate))
        if self.kind == "residual":
            return self.last(hidden + hidden * gate.expand_as(hidden))
        return self.last(gate * hidden if self.kind == "excite" else torch.addcmul(hidden, hidden, gate))


@pytest.mark.parametrize(
    ("kind", "free"),
    [
        ("excite", ["act", "inner"]),
        ("in place", ["act", "inner"]),
        ("residual", ["act", "inner"]),
        ("fused", ["act", "inner"]),
        ("branches", []),
        ("a constant", ["act", "other"]),
        ("squared", ["act", "other"]),
        ("halves", []),
        ("glu", []),
    ],
)
def test_a_gate_is_known_by_what_it_does(kind, free):
    assert [each.layer for each in prunable(Gated(kind), images(1))] == free
    if free:
        model = Gated(kind).eval()
        x = images(30)
        silenced(model, "first", [1, 4])
        before = output(model, x)
        table = prune(model, x, "silent")
        assert table["n_removed"].iloc[0] >= 2
        torch.testing.assert_close(output(model, x), before, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "last"),
    [("efficientnet_b0", None), ("mobilenet_v3_small", None), ("squeezenet1_1", "classifier.1")],
)
def test_gates_and_classes_of_torchvision(name, last):
    torchvision = pytest.importorskip("torchvision")
    torch.manual_seed(0)
    model, x = (
        getattr(torchvision.models, name)(weights=None, num_classes=10).eval(),
        torch.randn(2, 3, 64, 64),
    )
    found = prunable(model, x[:1])
    assert len(found) > 15
    # torchvision names its gates
    assert not [each.layer for each in found if "scale_activation" in each.layer]
    assert last not in [each.module for each in found]
    if name == "squeezenet1_1":
        prune(model, x, 0.5)
        assert output(model, x).shape == (2, 10)
        assert not hasattr(model.classifier[1], "weight_mask")


def test_chance_decides_among_equals():
    torch.manual_seed(0)
    x = torch.rand(40, 6) + 1
    models = [nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 2)).eval() for _ in range(3)]
    for model in models:
        model.load_state_dict(models[0].state_dict())
        with torch.no_grad():
            model[0].weight.abs_()  # all but two fire always
            model[0].weight[5] = -1.0
            model[0].bias[[0, 5]] = -100.0
    tables = [prune(model, x, 0.5, seed=seed) for model, seed in zip(models, (0, 0, 1), strict=True)]
    gone = [(model[0].weight == 0).all(1) for model in models]
    assert all(of_model[[0, 5]].all() and of_model.sum() == 6 for of_model in gone)
    assert torch.equal(gone[0], gone[1])
    assert not torch.equal(gone[0], gone[2])
    assert gone[0].nonzero().flatten().tolist() != list(range(6))
    assert [table["n_tied"].tolist() for table in tables] == [[10]] * 3
    # no ties: nothing to decide
    assert prune(models[0], x, 0.6, "magnitude")["n_tied"].tolist() == [0]


def test_stimuli_by_name_are_refused_in_words():
    for stimuli in ({"x": images()}, [images()], images().numpy()):
        with pytest.raises(TypeError, match=r"stimuli is a \w+: give one tensor \(n_stimuli, …\)"):
            prune(mlp(), stimuli, 0.5)
        with pytest.raises(TypeError, match="example is a"):
            prunable(mlp(), stimuli)

"""What torch cannot do there is refused in ann2neo's words, with the layer and the way out."""

import warnings

import pytest
import torch
from torch import nn

from ann2neo import Monitor, Probe, layers, record, summarize
from ann2neo.pruning import prunable

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


def probed(model, show, **more):
    with Probe(model, **more) as probe:
        show(model)
    return probe.recording


def loss(model):
    def of(parameters, x):
        return torch.func.functional_call(model, parameters, (x,)).square().mean()

    return of


TRANSFORMS = {
    "vmap": lambda model: torch.func.vmap(model)(X[:, None]),
    "grad": lambda model: torch.func.grad(loss(model))(dict(model.named_parameters()), X),
    "gradients of each stimulus": lambda model: torch.func.vmap(
        torch.func.grad(loss(model)), in_dims=(None, 0)
    )(dict(model.named_parameters()), X[:, None]),
    "jacfwd": lambda model: torch.func.jacfwd(model)(X),
    "jacrev": lambda model: torch.func.jacrev(model)(X),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # by jacfwd
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_function_transforms(name):
    model = network()
    with pytest.raises(TypeError, match=r"layer '1' runs within torch\.func .*leave the probe for that call"):
        probed(model, TRANSFORMS[name])
    assert not torch._C._functorch.maybe_current_level()
    TRANSFORMS[name](model)  # without it, all is as it was
    assert probed(model, lambda model: model(X)).n_bins == 20


def test_a_transform_inside_of_a_layer_is_no_matter():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.Tanh()

        def forward(self, x):
            return self.act(torch.func.vmap(lambda row: 2 * row)(x))

    assert (record(Inside(), X).raster("act") == (X > 0).T.numpy()).all()


def test_nested_tensors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch says that they may change
        sentences = [torch.randn(3, 6), torch.randn(5, 6)]
        for layout in (torch.jagged, torch.strided):
            nested = torch.nested.nested_tensor(sentences, layout=layout)
            with pytest.raises(TypeError, match=r"given a nested tensor.*to_padded_tensor"):
                probed(network(), lambda model, given=nested: model(given), time_dim=1)
        padded = torch.nested.to_padded_tensor(nested, 0.0)
    assert record(network(), padded, time_dim=1, lengths=[3, 5]).n_bins == 8  # the way out


class Sparse(nn.Module):
    def __init__(self, layout, back=False):
        super().__init__()
        self.layout, self.back = layout, back

    def forward(self, x):
        found = torch.relu(x).to_sparse(layout=self.layout)
        return found.to_dense() if self.back else found


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support:UserWarning")
def test_sparse_tensors(layout):
    for back in (False, True):
        found = record(nn.Sequential(Sparse(layout, back)), X, "0")
        assert (found.raster("0") == (X > 0).T.numpy()).all()


def exported(model):
    return torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim("batch")},))


@pytest.mark.parametrize("kind", ["program", "module"])
def test_exported_programs(kind):
    program = exported(network())
    model = program if kind == "program" else program.module()
    for call in (
        lambda: record(model, X),
        lambda: summarize(model, X),
        lambda: probed(model, lambda model: None),
        lambda: layers(model, X),
        lambda: Monitor().observe(model, X),
        lambda: prunable(model, X),
    ):
        with pytest.raises(TypeError, match=r"which torch\.export made.*unflatten\(program\)"):
            call()


def test_an_exported_program_taken_apart_has_layers():
    model = torch.export.unflatten(exported(network()))
    expected = record(network(), X)
    assert (record(model, X, "1").raster("1") == expected.raster("1")).all()


@pytest.mark.parametrize("model", [lambda x: x, None, nn.ReLU, "resnet18"])
def test_what_is_no_model(model):
    ways_out = r"(give a torch\.nn\.Module|make a model of it|load it first)"
    with pytest.raises(TypeError, match=f"the model is .*{ways_out}"):
        record(model, X)
    with pytest.raises(TypeError, match=ways_out):
        Probe(model)


def test_torchscript_keeps_what_it_holds():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.trace(nn.BatchNorm1d(6).eval(), X)
    with pytest.raises(TypeError, match="TorchScript calls no hooks inside"):
        record(script, X)
    with pytest.warns(UserWarning, match="TorchScript"):
        assert record(nn.Sequential(script, nn.ReLU()), X).layers == ["1"]

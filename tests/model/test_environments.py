"""Networks where people run them: compiled, in mixed precision, wrapped, trained, quantized, in threads."""

import copy
import threading
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from ann2neo import Probe, Summary, layers, record, summarize

X = torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A module and a function, dropout and batch norm."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.3))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return functional.gelu(self.head(self.body(x)))


@pytest.fixture
def net():
    return Net().eval()


@pytest.fixture
def plain(net):
    return record(net, X)


# -- compiled ------------------------------------------------------------------------------------------


def whole(net):
    return torch.compile(net, backend="aot_eager")


def in_place(net):
    net.compile(backend="aot_eager")
    return net


def in_part(net):
    net.body = torch.compile(net.body, backend="aot_eager")
    return net


@pytest.mark.parametrize("compiled", [whole, in_place, in_part])
def test_compiled_models(net, plain, compiled):
    model = compiled(net)
    with torch.no_grad():
        before = model(X)  # compiled without hooks
    recording = record(model, X)
    assert recording.layers == plain.layers == ["body.2", "gelu"]
    assert recording.rasters == plain.rasters
    assert recording.annotations["model"] == "Net"
    assert layers(model, X).layer.tolist() == layers(Net(), X).layer.tolist()
    with torch.no_grad():
        np.testing.assert_array_equal(model(X), before)


def test_compiled_code_is_used_again_after_a_probe(net):
    compilations = []

    def backend(graph, example):
        compilations.append(graph)
        calls = []

        def run(*args):
            calls.append(len(args))
            runs.append(1)
            return graph(*args)

        return run

    runs = []
    model = torch.compile(net, backend=backend)
    with torch.no_grad():
        model(X)
        with Probe(model):
            model(X)
        assert len(runs) == 1
        model(X)
    assert (len(compilations), len(runs)) == (1, 2)


# -- precision -----------------------------------------------------------------------------------------


def test_autocast(net):
    with torch.autocast("cpu", torch.bfloat16):
        recording = record(net, X, ["body.2", "gelu"])
        with torch.no_grad():
            hidden = net.body[:3](X)
            expected = functional.gelu(net.head(hidden))
    assert hidden.dtype == torch.bfloat16 or expected.dtype == torch.bfloat16
    np.testing.assert_array_equal(recording.raster("gelu"), (expected.float() > 0).T)
    np.testing.assert_array_equal(recording.raster("body.2"), (hidden.float() > 0).T)


def test_inference_mode(net, plain):
    summary = Summary(4)
    with torch.inference_mode(), Probe(net) as probe, Probe(net, into=[summary]):
        net(X)
    assert probe.recording.rasters == plain.rasters
    assert summary.units.equals(plain.summarize(4).units)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_quantized_weights_and_activations(net):
    quantized = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, torch.qint8)
    with torch.no_grad():
        expected = quantized(X)
    np.testing.assert_array_equal(record(quantized, X).raster("gelu"), (expected > 0).T)

    class Quantized(nn.Module):
        def forward(self, x):
            return torch.quantize_per_tensor(x, 0.1, 10, torch.quint8)

    x = torch.tensor([[-0.5, 0.04, 0.3]])
    assert record(Quantized(), x, "Quantized").raster("Quantized").T.tolist() == [[False, False, True]]


def test_integers_are_compared_exactly():
    class Integers(nn.Module):
        def forward(self, x):
            return (x * 0).long() + 2**24 + torch.arange(x.shape[1])

    recording = record(Integers(), X, "Integers", threshold=2.0**24)
    assert recording.raster("Integers")[:, 0].tolist() == [False] + [True] * 5
    summary = summarize(Integers(), X, "Integers", threshold=2.0**24, window=4)
    assert summary.units.n_spikes.tolist() == [0] + [12] * 5


# -- wrapped -------------------------------------------------------------------------------------------


def test_data_parallel(net, plain):
    wrapped = nn.DataParallel(net)
    assert record(wrapped, X).rasters == plain.rasters
    with Probe(wrapped), pytest.raises(RuntimeError, match=r"copy that DataParallel made.*model\.module"):
        net.body[2]._replicate_for_data_parallel()(X)


def test_distributed_data_parallel(net, plain, tmp_path):
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(net)
        recording = record(wrapped, X)
    finally:
        torch.distributed.destroy_process_group()
    assert recording.rasters == plain.rasters
    assert recording.annotations["model"] == "Net"


# -- training ------------------------------------------------------------------------------------------


def trained(probes):
    """Train for a few steps; return losses, gradients, weights, random state and modules' hooks."""
    net = Net().train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    torch.manual_seed(1)
    losses = []
    for _ in range(5):
        for probe in [make(net) for make in probes]:
            probe.__enter__()
            net.stack = [*getattr(net, "stack", []), probe]
        optimizer.zero_grad()
        loss = net(X).square().sum() + torch.rand(())
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        while getattr(net, "stack", []):
            net.stack.pop().__exit__(None, None, None)
    gradients = [parameter.grad for parameter in net.parameters()]
    return losses, gradients, list(net.state_dict().values()), torch.get_rng_state()


@pytest.mark.parametrize(
    "probes",
    [
        [lambda net: Probe(net)],
        [lambda net: Probe(net, into=[Summary(3)])],
        [lambda net: Probe(net, "*"), lambda net: Probe(net, units=2), lambda net: Probe(net.body)],
    ],
)
def test_a_probe_in_a_training_step_changes_no_bit(probes):
    for bare, observed in zip(trained([]), trained(probes), strict=True):
        torch.testing.assert_close(bare, observed, rtol=0, atol=0)


def test_several_probes_at_once_see_what_each_would_alone(net, plain):
    summary = Summary(4)
    with (
        torch.no_grad(),
        Probe(net) as one,
        Probe(net, "gelu", threshold=0.1) as two,
        Probe(net.body) as part,
    ):
        with Probe(net, into=[summary]):
            net(X)
        net(X)
    assert one.recording.n_bins == 24
    np.testing.assert_array_equal(one.recording.raster("gelu")[:, :12], plain.raster("gelu"))
    np.testing.assert_array_equal(one.recording.raster("gelu")[:, 12:], plain.raster("gelu"))
    np.testing.assert_array_equal(part.recording.raster("2")[:, :12], plain.raster("body.2"))
    alone = record(net, X, "gelu", threshold=0.1).raster("gelu")
    np.testing.assert_array_equal(two.recording.raster("gelu")[:, :12], alone)
    assert summary.units.equals(plain.summarize(4).units)


def test_a_copy_made_while_a_probe_is_on_is_another_model(net, plain):
    with Probe(net) as probe, torch.no_grad():
        copied = copy.deepcopy(net)
        copied(X)
        net(X)
    assert probe.recording.rasters == plain.rasters
    assert record(copied, X).rasters == plain.rasters


def test_threads_with_a_model_each_and_with_one_for_all(net):
    parts = X.repeat(8, 1).split(4)
    shared = Probe(net)
    own = []

    def work(stimuli):
        with torch.no_grad():
            own.append((stimuli, record(copy.deepcopy(net), stimuli)))
            for _ in range(5):
                net(stimuli.clone())

    with shared:
        threads = [threading.Thread(target=work, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(own) == len(parts)
    for stimuli, recording in own:
        assert recording.rasters == record(net, stimuli).rasters
    # whole passes in some order: each is one of the parts'
    seen = shared.recording.raster("body.2").reshape(8, -1, 4).transpose(1, 0, 2)
    assert len(seen) == 5 * len(parts)
    known = [record(net, part).raster("body.2") for part in parts[:3]]
    counts = [sum((each == raster).all() for each in seen) for raster in known]
    assert counts == [5 * len(parts) // 3] * 3


# -- what goes wrong -----------------------------------------------------------------------------------


def test_a_model_on_the_meta_device_says_what_to_do():
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(6, 2), nn.ReLU())
    with pytest.raises(ValueError, match=r"parameters of Sequential are on the meta device.*to_empty"):
        record(model, X)
    with Probe(model), pytest.raises(ValueError, match=r"layer '1' is on the meta device.*to_empty"):
        model(X.to("meta"))


def test_offloaded_weights_are_loaded_as_the_model_loads_them(net, plain):
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    offloaded = copy.deepcopy(net).to("meta")

    def load(module, args):
        module.to_empty(device="cpu").load_state_dict(weights)

    offloaded.register_forward_pre_hook(load)
    offloaded.register_forward_hook(lambda module, args, output: module.to("meta") and None)
    assert record(offloaded, X).rasters == plain.rasters


def test_a_module_shared_between_two_models(net):
    other = nn.Sequential(nn.Linear(5, 8), net.body[2])
    with torch.no_grad(), Probe(net) as probe:
        net(X)
        other(torch.randn(3, 5))
        net(X)
    assert probe.recording.n_bins == 24


def test_zero_size_batches_are_nothing(net, plain):
    with torch.no_grad(), Probe(net) as probe:
        for batch in (X[:0], X[:5], X[:0], X[5:]):
            net(batch)
    assert probe.recording.rasters == plain.rasters
    assert record(net, [X[:0], X]).rasters == plain.rasters


def test_complex_outputs():
    class Fourier(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x)

    with pytest.raises(TypeError, match="layer 'Fourier' gives complex numbers"):
        record(Fourier(), X, "Fourier")


def test_ctrl_c_in_a_pass_leaves_no_function_watched(net, plain):
    def press(module, args):
        raise KeyboardInterrupt

    with Probe(net) as probe, torch.no_grad():
        net(X)
        handle = net.head.register_forward_pre_hook(press)
        with pytest.raises(KeyboardInterrupt):
            net(X)
        handle.remove()
        net(X)
    assert probe.recording.n_bins == 24
    np.testing.assert_array_equal(probe.recording.raster("gelu")[:, 12:], plain.raster("gelu"))
    with Probe(net) as probe, torch.no_grad():
        functional.gelu(X)  # outside of a pass
        net(X)
    assert probe.recording.rasters == plain.rasters


def test_an_error_within_a_branch_that_the_model_catches(net):
    class Careful(nn.Module):
        def __init__(self):
            super().__init__()
            self.risky, self.safe = nn.Sequential(nn.Linear(3, 3)), nn.Sequential(nn.Linear(6, 2))

        def forward(self, x):
            try:
                return functional.relu(self.risky(x))
            except RuntimeError:
                return functional.relu(self.safe(x))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert record(Careful(), X).layers == ["relu"]


# -- what hooks cannot see -------------------------------------------------------------------------------


def test_what_is_no_module_is_refused(net):
    exported = torch.export.export(net, (X,))
    for model, message in (
        (nn.ReLU, r"the class ReLU: make a model of it, ReLU\(\.\.\.\)"),
        ("model.pt", r"the model is 'model\.pt', a str: load it first"),
        (exported, r"torch\.export.*Give the module it was made from"),
        (exported.module(), r"torch\.export.*Give the module it was made from"),
    ):
        with pytest.raises(TypeError, match=message):
            record(model, X)
        with pytest.raises(TypeError, match=message):
            Probe(model)


@pytest.mark.parametrize(("transform", "x"), [(torch.func.vmap, X[None]), (torch.func.jacrev, X)])
def test_transforms_of_functions_are_refused(net, transform, x):
    with Probe(net) as probe, pytest.raises(TypeError, match=r"torch\.func.*leave the probe for that call"):
        transform(net)(x)
    assert probe.n_stimuli == 0


def test_nested_tensors_are_refused_with_what_to_do():
    nested = torch.nested.nested_tensor([torch.ones(3, 2), torch.ones(5, 2)], layout=torch.jagged)
    with pytest.raises(TypeError, match=r"to_padded_tensor\(x, 0\.0\), and give lengths="):
        record(nn.ReLU(), nested, time_dim=1)
    relu = nn.ReLU()
    with Probe(relu, time_dim=1), pytest.raises(TypeError, match="to_padded_tensor"):
        relu(nested)


def test_sparse_activations_are_recorded():
    class Sparse(nn.Module):
        def forward(self, x):
            return torch.relu(x).to_sparse()

    recording = record(nn.Sequential(Sparse()), X, "0")
    np.testing.assert_array_equal(recording.raster("0"), (X > 0).T)


@pytest.mark.parametrize("numbers", [(1, 2), (2, 1)])
def test_a_varying_number_of_calls_is_said_how_to_take(numbers):
    class Varying(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.left = nn.ReLU(), list(numbers)

        def forward(self, x):
            for _ in range(self.left.pop(0)):
                x = self.act(x - 0.1)
            return x

    with pytest.raises(RuntimeError, match="varying number of times, time_dim='calls' makes"):
        record(Varying(), X, batch_size=len(X) // 2)
    recording = record(Varying(), X, batch_size=len(X) // 2, time_dim="calls")
    assert recording.n_bins == len(X) // 2 * 3

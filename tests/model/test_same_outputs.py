"""Outputs with a probe are equal bit for bit, also those of fused kernels; each stimulus counts once."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from ann2neo import Monitor, Probe, Summary, record

# -- fused kernels ---------------------------------------------------------------------------------------

TOKENS = torch.randn(6, 5, 16, generator=torch.Generator().manual_seed(1))
PADDING = torch.arange(5) >= torch.tensor([[3], [5], [2], [5], [4], [3]])


def encoder_layer(**given):
    return nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, **given)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x, pad=None):
        return torch.relu(self.attention(x, x, x, key_padding_mask=pad, need_weights=False)[0])


class Pooled(nn.Module):
    """An encoder, and something after it, as classifiers of texts have it."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(16, 3)

    def forward(self, x, pad=None):
        return torch.relu(self.head(self.encoder(x, src_key_padding_mask=pad).mean(1)))


class Whole(nn.Module):
    """Encoder and decoder."""

    def __init__(self):
        super().__init__()
        self.transformer = nn.Transformer(16, 2, 2, 2, 32, batch_first=True)

    def forward(self, x, pad=None):
        return self.transformer(x, x[:, :3], src_key_padding_mask=pad)


MODELS = {
    "encoder of two": lambda: Pooled(nn.TransformerEncoder(encoder_layer(), 2)),
    "norm first": lambda: Pooled(nn.TransformerEncoder(encoder_layer(norm_first=True), 2)),
    "gelu": lambda: Pooled(nn.TransformerEncoder(encoder_layer(activation="gelu"), 2)),
    "own activation": lambda: Pooled(nn.TransformerEncoder(encoder_layer(activation=torch.tanh), 2)),
    "one layer": lambda: Pooled(encoder_layer()),
    "attention": Attention,
    "encoder and decoder": Whole,
}


@pytest.fixture(params=MODELS)
def model(request):
    torch.manual_seed(0)
    return MODELS[request.param]().eval()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:not recorded")
@pytest.mark.parametrize("pad", [None, PADDING, PADDING | (torch.arange(5) > 3)], ids=["", "some", "all"])
@pytest.mark.parametrize("layers", [None, "*"])
def test_outputs_are_equal_bit_for_bit(model, layers, pad):
    with torch.no_grad():
        plain = model(TOKENS, pad)
        with Probe(model, layers) as probe:
            probed = model(TOKENS, pad)
        assert torch.equal(model(TOKENS, pad), plain)
    assert torch.equal(probed, plain)
    assert probe.n_stimuli == 6
    if layers == "*":
        inside = [name for name, module in model.named_modules() if isinstance(module, nn.LayerNorm)]
        assert {name for name in probe.recording.layers if "norm" in name} >= set(inside)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")
def test_what_is_inside_a_fused_kernel_is_recorded():
    torch.manual_seed(0)
    model = Pooled(nn.TransformerEncoder(encoder_layer(), 2)).eval()
    slow, inner = [], model.encoder.layers
    handles = [
        inner[i].linear1.register_forward_hook(lambda *a: slow.append(torch.relu(a[2]))) for i in (0, 1)
    ]
    with torch.no_grad():
        torch.backends.mha.set_fastpath_enabled(False)
        model(TOKENS, PADDING)
        torch.backends.mha.set_fastpath_enabled(True)
        for handle in handles:
            handle.remove()
        with Probe(model, ["encoder.layers.*.relu", "head"]) as probe:
            model(TOKENS, PADDING)
        shown = ~PADDING
        logits = model.head(model.encoder(TOKENS, src_key_padding_mask=PADDING).mean(1))
    assert len(slow) == 2
    for i, activation in enumerate(slow):
        raster = torch.from_numpy(probe.recording.raster(f"encoder.layers.{i}.relu")).T.reshape(6, 5, 32)
        assert (raster[shown] == (activation[shown] > 0)).all()
    # what comes after the encoder is that of the fused kernel
    assert (probe.recording.raster("head") == (logits > 0).numpy().T).all()


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")
@pytest.mark.filterwarnings("ignore:not recorded")
@pytest.mark.parametrize("kind", ["encoder of two", "one layer", "attention", "gru"])
@pytest.mark.parametrize("inference", [True, False])
def test_outputs_under_autocast_are_equal(kind, inference):
    torch.manual_seed(0)
    model = nn.GRU(16, 8, batch_first=True).eval() if kind == "gru" else MODELS[kind]().eval()

    def output():
        found = model(TOKENS)
        return found[0] if kind == "gru" else found

    with torch.inference_mode(inference), torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        plain = output()
        with Probe(model, "*" if kind != "gru" else nn.GRU):
            probed = [output(), output()]
    for each in probed:
        assert each.dtype == plain.dtype
        assert torch.equal(each, plain)


def test_fused_kernels_are_used_while_a_probe_is_on():
    torch.manual_seed(0)
    model = Pooled(encoder_layer()).eval()
    called = []

    class Watching(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            called.append(str(function))
            return function(*args, **(kwargs or {}))

    with torch.no_grad(), Watching():
        model(TOKENS)
        fused = [name for name in called if "transformer_encoder_layer" in name]
        called.clear()
        with Probe(model, "head"):
            model(TOKENS)
    assert fused
    assert [name for name in called if "transformer_encoder_layer" in name] == fused


@pytest.mark.parametrize("batch_first", [True, False])
def test_what_has_no_fused_kernel_runs_once(batch_first):
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first).eval()
    called = []
    model.linear1.register_forward_hook(lambda *_: called.append(1))  # with it torch uses no kernel
    with torch.no_grad():
        plain = model(TOKENS)
        called.clear()
        with Probe(model, "relu", time_dim=1 if batch_first else 0) as probe:
            assert torch.equal(model(TOKENS), plain)
    assert probe.recording.n_bins == 30
    assert len(called) == 1


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:The PyTorch API of nested tensors")
def test_two_probes_see_the_same_inside_a_fused_kernel(model):
    with torch.no_grad():
        plain = model(TOKENS, PADDING)
        with Probe(model) as alone:
            model(TOKENS, PADDING)
        with Probe(model) as one, Monitor(window=2).watch(model), Probe(model) as two:
            assert torch.equal(model(TOKENS, PADDING), plain)
    assert one.recording.rasters == alone.recording.rasters
    assert two.recording.rasters == alone.recording.rasters


# -- hooks of others --------------------------------------------------------------------------------------


def test_what_hooks_of_the_user_make_of_an_output_is_recorded():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    x = torch.randn(20, 6)
    lesion = torch.arange(8) < 3
    before = model[1].register_forward_hook(lambda module, args, output: output.masked_fill(lesion, 0.0))
    with Probe(model) as probe:
        model(x)
        before.remove()
        after = model[1].register_forward_hook(lambda module, args, output: output.masked_fill(~lesion, 0.0))
        model(x)
        after.remove()
    raster = probe.recording.raster("1")
    assert not raster[:3, :20].any()
    assert not raster[3:, 20:].any()
    intact = (torch.relu(model[0](x)) > 0).numpy().T
    assert (raster[3:, :20] == intact[3:]).all()
    assert (raster[:3, 20:] == intact[:3]).all()


# -- each stimulus once -----------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, encoder, **how):
        super().__init__()
        self.encoder, self.head, self.how = encoder, nn.Linear(4, 2), how

    def forward(self, x):
        return self.head(checkpoint(self.encoder, x, **self.how) if self.how else self.encoder(x))


@pytest.mark.parametrize("how", [{}, {"use_reentrant": False}, {"use_reentrant": True}], ids=str)
def test_what_a_backward_pass_computes_again_is_not_counted(how):
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 4))
    model, summary, monitor = Checkpointed(encoder, **how), Summary(window=10), Monitor(window=10)
    x = torch.randn(60, 6)
    with torch.no_grad():
        expected = (torch.tanh(encoder[0](x)) > 0).numpy().T
    with monitor.watch(encoder), Probe(encoder, into=[summary]), Probe(encoder) as probe:
        for batch in x.split(12):
            model(batch.requires_grad_()).square().mean().backward()
    assert (probe.recording.raster("1") == expected).all()
    assert summary.n_bins == 60
    assert monitor.table.n_bins.tolist() == [60, 60]


# -- compiled code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "within"])
@pytest.mark.parametrize("grad", [True, False])
def test_compiled_functions_that_call_the_model(when, grad):
    torch._dynamo.reset()
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(20, 6)
    step = torch.compile(lambda x: functional.gelu(model(x)).sum(), backend="eager")
    with torch.set_grad_enabled(grad):
        if when == "before":
            step(x)
        with Probe(model) as probe:
            step(x)
            step(x)
    expected = (model[0](x) > 0).numpy().T
    assert (probe.recording.raster("1")[:, :20] == expected).all()
    assert probe.n_stimuli == 40


def test_a_model_that_is_compiled_while_a_probe_is_on_is_told_of():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU()), torch.randn(20, 6)
    probe = Probe(model).__enter__()
    model(x)
    model.compile(backend="eager")
    model(x)
    with pytest.warns(UserWarning, match=r"Sequential\.compile\(\) was called while"):
        probe.__exit__(None, None, None)
    assert probe.n_stimuli == 20
    assert model._compiled_call_impl is not None  # it stays compiled
    with Probe(model) as again:
        model(x)
    assert again.n_stimuli == 20


def test_a_loop_that_never_calls_the_model_is_told_so():
    model, summary = nn.Sequential(nn.Linear(6, 8), nn.ReLU()), Summary(window=2)
    with (
        pytest.warns(UserWarning, match="no forward pass of Sequential was begun"),
        Probe(model, into=[summary]),
    ):
        model[1](model[0](torch.randn(4, 6)))
    with Probe(model) as probe:
        pass
    with pytest.raises(ValueError, match="nothing was recorded"):
        probe.recording  # noqa: B018


# -- threads ----------------------------------------------------------------------------------------------


def test_a_part_that_another_thread_calls_meanwhile_is_not_part_of_the_pass():
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3), nn.Tanh()), torch.randn(20, 6)

    def elsewhere(*_):
        thread = threading.Thread(target=model[1], args=(torch.ones(7, 8),))
        thread.start()
        thread.join()

    handle = model[2].register_forward_pre_hook(elsewhere)
    with Probe(model) as probe:
        model(x)
    handle.remove()
    assert probe.recording.layers == ["1", "3"]
    assert probe.recording.rasters == record(model, x).rasters

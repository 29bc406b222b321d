"""A probe that fails while it is put on leaves nothing behind; what takes no hooks is left out, and said."""

import threading

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack as function_modes

from ann2neo import Probe, layers, record, summarize


def with_script():
    """A network whose middle, a convolution with its activation, is TorchScript."""
    torch.manual_seed(0)
    middle = torch.jit.script(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh()))
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Unflatten(1, (1, 5)), middle, nn.Flatten(), nn.ReLU())


def hooks_on(model):
    own = (m for m in model.modules() if not isinstance(m, torch.jit.ScriptModule))
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in own)


def is_free(model, x):
    """Whether another thread can call the model: the lock of a probe would hold it."""
    done = []
    thread = threading.Thread(target=lambda: done.append(model(x)), daemon=True)
    thread.start()
    thread.join(20)
    return bool(done)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
@pytest.mark.parametrize("look", [record, summarize, layers])
def test_torchscript_is_left_out_and_said(look):
    model, x = with_script(), torch.randn(30, 6)
    expected = [torch.relu(model[0](x)), model(x)]
    with pytest.warns(UserWarning, match=r"TorchScript.*\['3'"):
        found = look(model, x)
    if look is record:
        assert found.layers == ["1", "5"]
        for layer, activation in zip(found.layers, expected, strict=True):
            assert (found.raster(layer) == (activation > 0).numpy().T).all()
    assert hooks_on(model) == 0
    assert function_modes() == []
    assert torch.equal(model(x), expected[1])
    assert is_free(model, x)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_model_that_is_torchscript_is_refused():
    with pytest.raises(TypeError, match="TorchScript calls no hooks inside"):
        Probe(torch.jit.script(nn.Sequential(nn.Linear(6, 5), nn.ReLU())))


class Failing(nn.Module):
    """Fails to take its n-th hook."""

    def __init__(self, n):
        super().__init__()
        self.left = n

    def _taken(self):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt

    def register_forward_hook(self, *args, **kwargs):
        self._taken()
        return super().register_forward_hook(*args, **kwargs)

    def register_forward_pre_hook(self, *args, **kwargs):
        self._taken()
        return super().register_forward_pre_hook(*args, **kwargs)

    def forward(self, x):
        return torch.relu(x)


@pytest.mark.parametrize("n", range(6))
def test_what_was_put_on_is_taken_off_when_entering_fails(n):
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), Failing(10**9))
    x = torch.randn(4, 6)
    plain, failing = model(x), model[2]
    probe = Probe(model)
    failing.left = n
    entered = False
    try:
        with probe:
            entered = True
    except KeyboardInterrupt:
        assert not entered
    assert hooks_on(model) == 0
    assert function_modes() == []
    assert torch.equal(model(x), plain)
    assert is_free(model, x)
    failing.left = 10**9
    with probe:  # it can be used again
        model(x)
    assert probe.recording.n_bins == 4


def test_that_the_failure_is_injected():
    model = nn.Sequential(nn.Linear(6, 5), Failing(0))
    with pytest.raises(KeyboardInterrupt), Probe(model):
        pass


class Tagged(torch.Tensor):
    """A subclass of tensors, as DTensor and torchao's are."""


def test_parameters_of_a_subclass_of_tensors_have_no_fingerprint():
    model = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    x = torch.randn(20, 6)
    plain = record(model, x)
    assert "parameters_sha256" in plain.annotations
    model[0].weight = nn.Parameter(model[0].weight.detach().as_subclass(Tagged))
    recording = record(model, x)
    assert recording.rasters == plain.rasters
    assert recording.annotations.get("parameters_sha256") is None

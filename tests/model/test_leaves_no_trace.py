"""A probe that fails while it is put on leaves nothing behind; what takes no hooks is left out, and said."""

import copy
import io
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack as function_modes

from ann2neo import Monitor, Probe, layers, record, summarize
from ann2neo.model.hooks import hooks as hooks_room
from ann2neo.model.hooks.watching.eagerly import Eagerly
from helpers.traces import n_watched


def with_script():
    """A network whose middle, a convolution with its activation, is TorchScript."""
    torch.manual_seed(0)
    middle = torch.jit.script(nn.Sequential(nn.Conv1d(1, 2, 3), nn.Tanh()))
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Unflatten(1, (1, 5)), middle, nn.Flatten(), nn.ReLU())


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
    assert n_watched(model) == 0
    assert function_modes() == []
    assert torch.equal(model(x), expected[1])
    assert is_free(model, x)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_torchscript_is_not_spoken_of_where_other_layers_are_named():
    model, x = with_script(), torch.randn(30, 6)
    assert record(model, x, ["1", "5"]).layers == ["1", "5"]
    with pytest.raises(TypeError, match="layer '3' is TorchScript: put in the module it was made from"):
        record(model, x, ["1", "3"])


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")
def test_a_model_that_is_torchscript_is_refused():
    with pytest.raises(TypeError, match="TorchScript calls no hooks inside"):
        Probe(torch.jit.script(nn.Sequential(nn.Linear(6, 5), nn.ReLU())))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Sequential(nn.Linear(5, 4), nn.Tanh()))


class Failing:
    """Stands in for a function; its n-th call fails, before it has done anything or after it."""

    def __init__(self, function, n, when):
        self.function, self.left, self.when = function, n, when

    def __call__(self, *args):
        self.left -= 1
        if self.left == -1 and self.when == "before":
            raise KeyboardInterrupt
        self.function(*args)
        if self.left == -1:
            raise KeyboardInterrupt


STEPS = {
    "entering": [(hooks_room, "intercept", n) for n in range(5)] + [(Eagerly, "__enter__", 0)],
    "leaving": [(hooks_room, "release", n) for n in range(5)] + [(Eagerly, "__exit__", 0)],
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("where", "step"), [(where, step) for where, steps in STEPS.items() for step in steps], ids=str
)
def test_a_failure_while_a_probe_is_put_on_or_off_leaves_nothing(monkeypatch, where, step, when):
    owner, name, n = step
    model, x = network(), torch.randn(4, 6)
    plain = model(x)
    compiled = torch.compile(lambda x: x + 1, backend="eager")  # so that there is a stance to be put back
    stance = torch._dynamo.eval_frame._stance.stance
    probe = Probe(model)
    done = []
    with monkeypatch.context() as patch:
        failing = Failing(getattr(owner, name), n, when)
        patch.setattr(owner, name, failing if owner is hooks_room else lambda *args: failing(*args))
        with pytest.raises(KeyboardInterrupt), probe:
            model(x)
            done.append("pass")
    assert done == ([] if where == "entering" else ["pass"])
    assert n_watched(model) == 0
    assert function_modes() == []
    assert torch._dynamo.eval_frame._stance.stance == stance
    assert torch.equal(model(x), plain)
    assert torch.equal(compiled(x), x + 1)
    assert is_free(model, x)
    with probe:  # it can be used again
        model(x)
    assert probe.recording.n_bins == 4 + 4 * len(done)


def test_ctrl_c_in_a_forward_pass_leaves_no_lock_and_no_mode():
    model, x = network(), torch.randn(4, 6)
    plain = model(x)

    def press(*_):
        raise KeyboardInterrupt

    with Probe(model) as probe:
        handle = model[2][1].register_forward_pre_hook(press)
        with pytest.raises(KeyboardInterrupt):
            model(x)
        handle.remove()
        assert function_modes() == []
        assert is_free(model, x)
        assert torch.equal(model(x), plain)
    assert probe.n_stimuli == 8  # those of the other thread, and of the last pass


# -- copies ----------------------------------------------------------------------------------------------


def test_copies_made_while_a_probe_is_on_know_nothing_of_it():
    model, x = network(), torch.randn(4, 6)
    averaged = torch.optim.swa_utils.AveragedModel(model)
    with Monitor(window=2).watch(model), Probe(model) as probe:
        plain = model(x)
        averaged.update_parameters(model)
        copies = [copy.deepcopy(model), torch.optim.swa_utils.AveragedModel(model).module, averaged.module]
        copies.append(torch.load(saved(model), weights_only=False))
        copies.append(pickle.loads(pickle.dumps(model)))
        outputs = [each(x) for each in copies]
    assert probe.n_stimuli == 4
    for each, output in zip(copies, outputs, strict=True):
        assert n_watched(each) == 0
        assert torch.equal(output, plain)
        assert torch.equal(each(x), plain)


def test_copies_of_a_traced_graph_know_nothing_of_it():
    # torch.fx copies and pickles all attributes of a module
    model, x = torch.fx.symbolic_trace(network()), torch.randn(4, 6)
    with Probe(model) as probe:
        plain = model(x)
        copies = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        outputs = [each(x) for each in copies]
    assert probe.n_stimuli == 4
    for each, output in zip(copies, outputs, strict=True):
        assert n_watched(each) == 0
        assert torch.equal(output, plain)


def saved(model):
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    return file


def test_a_compiled_call_is_put_back():
    model, x = network(), torch.randn(4, 6)
    plain = model(x)
    model[0].compile(backend="eager")
    compiled = model[0]._compiled_call_impl
    with Probe(model) as one:
        with Probe(model) as two:
            model(x)
        model(x)
    assert model[0]._compiled_call_impl is compiled
    assert (one.n_stimuli, two.n_stimuli) == (8, 4)
    assert torch.equal(model(x), plain)


def test_probes_end_in_any_order():
    model, x = network(), torch.randn(4, 6)
    one, two = Probe(model), Probe(model)
    one.__enter__()
    two.__enter__()
    model(x)
    one.__exit__(None, None, None)
    model(x)
    two.__exit__(None, None, None)
    assert (one.n_stimuli, two.n_stimuli) == (4, 8)
    assert n_watched(model) == 0


def test_two_probes_see_the_same():
    model, x = network(), torch.randn(4, 6)
    with Probe(model) as one, Probe(model) as two:
        model(x)
    assert one.recording.rasters == two.recording.rasters == record(model, x).rasters


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

"""What is recorded: activations written by hand, globs, and what is no layer, against captured outputs."""

from fnmatch import fnmatchcase

import pytest
import torch
from torch import nn
from torch.nn import functional

from ann2neo import Probe, RecordingError, layers, record

X = torch.randn(20, 6, generator=torch.Generator().manual_seed(1))


def captured(model, *names, stimuli=X):
    """What modules give, by plain hooks."""
    found = {}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda _, args, output, name=name: found.update({name: output.detach().clone()})
        )
        for name in names
    ]
    with torch.no_grad():
        model.eval()(stimuli)
    for handle in handles:
        handle.remove()
    return found


def check(recording, activations):
    """The recording holds exactly these layers, unit for unit and bin for bin."""
    assert recording.layers == list(activations)
    for name, activation in activations.items():
        assert (recording.raster(name) == (activation.flatten(1) > 0).numpy().T).all(), name


# -- activations written by hand -------------------------------------------------------------------------


class Swish(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x)


class Mish(nn.Module):
    def forward(self, x):
        return x.mul(functional.softplus(x).tanh())


class Gated(nn.Module):
    """A factor a channel, as in a PReLU that somebody wrote."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.full((1, 8), 0.3))

    def forward(self, x):
        return torch.relu(x) - self.slope * torch.relu(-x)


class HardSigmoid(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU6(inplace=True)

    def forward(self, x):
        return self.relu(x + 3) / 6


class HardSwish(nn.Module):
    """As copies of MobileNetV3 write it: an activation that holds another one."""

    def __init__(self):
        super().__init__()
        self.sigmoid = HardSigmoid()

    def forward(self, x):
        return x * self.sigmoid(x)


class Delegate(nn.Module):
    def forward(self, x):
        return functional.relu(x)


BY_HAND = [Swish, Mish, Gated, HardSigmoid, HardSwish, Delegate]


@pytest.mark.parametrize("make", BY_HAND)
def test_an_activation_written_by_hand_is_the_layer(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), make(), nn.Linear(8, 8), make())
    expected = captured(model, "1", "3")
    recording = record(model, X, batch_size=7)
    check(recording, expected)
    assert 0 < recording.n_spikes < recording.n_units * recording.n_bins or make is HardSigmoid
    table = layers(model, X)
    assert table[table.by_default].layer.tolist() == ["1", "3"]
    # the same is given where it is used twice
    twice = nn.Sequential(nn.Linear(6, 8), act := make(), nn.Linear(8, 8), act)
    assert record(twice, X).layers == ["1", "1_1"]


def test_what_is_inside_can_still_be_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), Swish())
    gate = torch.sigmoid(model[0](X)).detach()
    check(record(model, X, "1.sigmoid", threshold=0.0), {"1.sigmoid": gate})
    assert record(model, X, "*").layers == ["0", "1"]
    assert record(model, X, ["*", "1.sigmoid"]).layers == ["0", "1.sigmoid", "1"]
    assert record(nn.Sequential(nn.Linear(6, 8), HardSwish()), X, "1.sigmoid.relu").layers == [
        "1.sigmoid.relu"
    ]


def test_a_module_that_gives_another_shape_is_no_activation():
    class GLU(nn.Module):
        def forward(self, x):
            x, gate = x.chunk(2, 1)
            return x * torch.sigmoid(gate)

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), GLU())
    gate = torch.sigmoid(model[0](X)[:, 4:]).detach()
    check(record(model, X, batch_size=7), {"1.sigmoid": gate})


def test_a_module_that_holds_a_matrix_is_no_activation():
    class Expert(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.weight = nn.Parameter(torch.randn(6, 6))

        def forward(self, x):
            return torch.relu(x @ self.weight) @ self.weight

    model = nn.Sequential(Expert())
    check(record(model, X), {"0.relu": torch.relu(X @ model[0].weight).detach()})


def test_a_block_of_an_activation_and_others_is_no_activation():
    class Act(nn.Module):
        def __init__(self, *parts):
            super().__init__()
            self.parts = nn.ModuleList(parts)

        def forward(self, x):
            for part in self.parts:
                x = part(x)
            return x

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), Act(nn.ReLU(), nn.Dropout()), Act(nn.Tanh()))
    expected = captured(model, "1.parts.0", "2.parts.0")
    check(record(model, X), expected)


def test_a_first_pass_that_fails_decides_nothing():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), Swish())
    with Probe(model) as probe:
        with pytest.raises(RuntimeError, match="shapes"):
            model(torch.ones(2, 5))
        model(X)
    check(probe.recording, captured(model, "1"))


class Frozen(nn.Module):
    """A block whose weights are buffers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("up", torch.randn(6, 9))
        self.register_buffer("down", torch.randn(9, 6))

    def forward(self, x):
        return torch.relu(x @ self.up) @ self.down


class Vectors(nn.Module):
    """A block whose weights have one dimension that counts."""

    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Parameter(torch.randn(6, 1)), nn.Parameter(torch.randn(1, 6))

    def forward(self, x):
        return torch.relu(x @ self.up) @ self.down


class Borrowed(nn.Module):
    """A residual block of modules that others hold."""

    def __init__(self, *parts):
        super().__init__()
        self.parts = [lambda x: parts[2](parts[1](parts[0](x)))]

    def forward(self, x):
        return x + self.parts[0](x)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.ReLU(), nn.ReLU()

    def forward(self, x):
        return 2 * self.b(self.a(x) - 0.5)


def blocks():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.up, self.act, self.down = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 6)
            self.residual = Borrowed(self.up, self.act, self.down)

        def forward(self, x):
            return self.residual(x)

    torch.manual_seed(0)
    return {
        ("0.relu",): nn.Sequential(Frozen(), nn.Linear(6, 2)),
        ("1.relu",): nn.Sequential(nn.Linear(6, 6), Vectors()),
        ("act",): Holder(),
        ("0.a", "0.b"): nn.Sequential(Twice(), nn.Linear(6, 2)),
    }


@pytest.mark.parametrize("names", blocks())
def test_a_block_that_computes_is_no_activation(names):
    assert record(blocks()[names], X).layers == [*names]


# -- globs ------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x):
        return functional.leaky_relu(torch.tanh(self.fc(x)))


@pytest.mark.parametrize(
    "glob", ["*tanh", "*.tanh", "0*lu", "[01].leaky_relu", "*1*h", "0.le*", "*relu", "?.t*", "first*"]
)
def test_a_glob_finds_the_functions_that_it_matches(glob):
    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    names = record(model, X).layers
    assert names == ["0.tanh", "0.leaky_relu", "1.tanh", "1.leaky_relu"]
    wanted = [name for name in names if fnmatchcase(name, glob)]
    if wanted:
        assert record(model, X, glob).layers == wanted
        thresholds = record(model, X, threshold={glob: 0.5, "*": 0.0})
        rasters = {name: thresholds.raster(name) for name in names}
        for name in names:
            expected = record(model, X, name, threshold=0.5 if name in wanted else 0.0)
            assert (rasters[name] == expected.raster(name)).all()
    else:
        with pytest.raises(ValueError, match="no layer matches"):
            record(model, X, glob)


class Positions(nn.Module):
    """A table of positions, added to the stimuli: (1, 4, 3)."""

    def __init__(self):
        super().__init__()
        self.table, self.norm = nn.Embedding(4, 3), nn.LayerNorm(3)
        self.blocks = nn.ModuleList()

    def forward(self, x):
        return torch.relu(x.reshape(-1, 1, 3) + self.norm(self.table(torch.arange(4)[None])))


def test_under_a_glob_what_is_not_batch_first_is_left_out_and_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 3), Positions(), nn.Flatten(1))
    with pytest.warns(UserWarning, match=r"not recorded: .*'1.table'.*'1.norm'") as warned:
        recording = record(model, X, "*")
    assert [each.filename for each in warned] == [__file__]  # the line of the user
    expected = captured(model, "0", "1", "2")
    check(recording, {"0": expected["0"], "1.relu": expected["1"], "2": expected["2"]})
    with pytest.raises(ValueError, match=r"layer '1\.table' does not depend on the stimuli"):
        record(model, X, "1.table")
    with pytest.raises(ValueError, match=r"ModuleList.*never called"):
        record(model, X, "1.blocks")


def test_under_a_glob_what_gives_no_tensor_is_left_out_and_named():
    class Gives(nn.Module):
        def __init__(self, what):
            super().__init__()
            self.what = what

        def forward(self, x):
            return self.what(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.nothing, self.number = nn.Linear(6, 3), Gives(lambda x: None), Gives(torch.mean)
            self.phase = Gives(lambda x: torch.complex(x, x))

        def forward(self, x):
            x = self.first(x)
            self.nothing(x), self.number(x), self.phase(x)
            return x

    model = Net()
    left_out = r"{'nothing': 'NoneType', 'phase': .*no tensor of real numbers; {'number': \(\)}"
    with pytest.warns(UserWarning, match=left_out):
        recording = record(model, X, "*")
    check(recording, captured(model, "first"))
    with pytest.raises(TypeError, match="layer 'nothing' gives a NoneType"):
        record(model, X, "nothing")


@pytest.mark.parametrize("kind", ["weight_norm", "spectral_norm"])
def test_weights_that_are_made_of_others_are_no_layers(kind):
    torch.manual_seed(0)
    make = getattr(nn.utils.parametrizations, kind)
    # as many rows as there are stimuli
    model = nn.Sequential(make(nn.Linear(6, 20)), nn.ReLU())
    with pytest.warns(UserWarning, match="'0.parametrizations.weight.0': .*do not depend"):
        recording = record(model, X, "*")
    check(recording, captured(model, "0", "1"))


def test_what_is_computed_from_parameters_alone_is_no_layer():
    class Prototypes(nn.Module):
        """As many prototypes as there are stimuli."""

        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.prototypes, self.mlp = nn.Parameter(torch.randn(20, 4)), nn.Linear(4, 6)
            self.act, self.out = nn.ReLU(), nn.Linear(6, 5)

        def forward(self, x):
            keys = functional.softplus(self.act(self.mlp(self.prototypes)))
            state = torch.zeros(len(x), 6)
            state[:, 2:] = x[:, 2:]  # depends on the stimuli from here on
            return torch.relu(self.out(state) + x @ keys.T[:, :5])

    model = Prototypes()
    with pytest.warns(UserWarning, match="'act': .*do not depend on the stimuli"):
        recording = record(model, X, batch_size=20)
    with torch.no_grad():
        check(recording, {"relu": model(X)})
    with pytest.warns(UserWarning, match="'act'") as warned:
        recording = record(model, X, "*", batch_size=20)
    assert recording.layers == ["out", "relu"]
    assert "'mlp'" in str(warned[0].message)


def test_stimuli_that_the_model_holds_itself_are_not_taken_for_parameters():
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("stimuli", X)

        def forward(self):
            return torch.relu(self.stimuli)

    with Probe(model := Holds()) as probe:
        output = model()
    check(probe.recording, {"relu": output})


# -- clamp ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clamp", "is_activation"),
    [
        (lambda x: x.clamp(min=0), True),
        (lambda x: torch.clamp(x, -1, 1), True),
        (lambda x: x.clamp_min(0.0), True),
        (lambda x: torch.clip(x, 0, 6), True),
        (lambda x: x.clamp(min=1e-6), False),
        (lambda x: x.clamp(max=0), False),
        (lambda x: x.clamp_min(torch.tensor(0.1)), False),
    ],
)
def test_a_clamp_is_an_activation_where_its_bound_is_at_most_zero(clamp, is_activation):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(6, 8)

        def forward(self, x):
            return torch.tanh(clamp(self.fc(x)))

    names = record(Net(), X).layers
    assert [name for name in names if name.startswith(("clamp", "clip"))] == names[: int(is_activation)]
    assert names[-1] == "tanh"


def test_a_clamp_of_a_parameter_is_no_activation():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.scale = nn.Linear(6, 20), nn.Parameter(torch.ones(20))

        def forward(self, x):
            return torch.relu(self.fc(x) * self.scale.clamp(min=0))

    with pytest.warns(UserWarning, match=r"'clamp': \(20,\)}, because they do not depend on the stimuli"):
        assert record(Net(), X).layers == ["relu"]


def test_what_is_computed_in_place_from_constants_is_constant():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.table, self.fc = nn.Embedding(60, 4), nn.Linear(6, 20)

        def forward(self, x):
            distance = torch.zeros(20, 20, dtype=torch.long)
            distance += torch.arange(20)
            distance[:, 3] = 7
            distance.sub_(torch.arange(20)[:, None]).abs_()
            return torch.relu(self.fc(x) + self.table(distance).sum((1, 2)))

    with pytest.warns(UserWarning, match=r"{'table': \(20, 20, 4\)}, because they do not depend"):
        assert record(Net(), X, "*").layers == ["fc", "relu"]


@pytest.mark.parametrize(
    "write",
    [
        lambda buffer, x: torch.ops.aten.copy_.default(buffer, x),
        lambda buffer, x: torch._foreach_add_([torch.zeros(1), buffer], [torch.zeros(1), x]),
        lambda buffer, x: torch.add(x, 0, out=buffer),
        lambda buffer, x: buffer.view(-1).add_(x.reshape(-1)),
    ],
)
@pytest.mark.parametrize("make", [torch.zeros, torch.empty])
def test_what_is_written_into_a_buffer_depends_on_the_stimuli(make, write):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc = nn.Linear(6, 6)

        def forward(self, x):
            buffer = make(len(x), 6).mul_(0)
            write(buffer, x)
            return torch.tanh(self.fc(x)) + torch.relu(buffer)

    recording = record(Net(), X)
    assert recording.layers == ["tanh", "relu"]
    assert (recording.raster("relu") == (X > 0).numpy().T).all()


# -- experts ----------------------------------------------------------------------------------------------


def test_experts_that_see_some_stimuli_are_refused_with_the_reason():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.router = nn.Linear(6, 2)
            self.experts = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.ReLU()) for _ in range(2))

        def forward(self, x):
            chosen, y = self.router(x).argmax(1), torch.zeros_like(x)
            for i, expert in enumerate(self.experts):
                y[chosen == i] = expert(x[chosen == i])
            return y

    model = Experts()
    with pytest.raises(ValueError, match=r"not recorded: .*'experts.0.1'.*first dimension is not the batch"):
        record(model, X)
    with pytest.raises(ValueError, match="activations for a batch of 20 stimuli"):
        record(model, X, "experts.0.1")


# -- branches ---------------------------------------------------------------------------------------------


class Branches(nn.Module):
    def forward(self, x):
        if len(x) > 8:
            return torch.relu(x - 1)
        return torch.relu(x + 1)


def test_functions_of_two_branches_are_not_mixed_under_one_name():
    model = nn.Sequential(nn.Linear(6, 6), nn.Sequential(nn.Flatten(), Branches(), nn.Linear(6, 6)))
    assert record(model, X).layers  # one branch
    with pytest.raises(RecordingError, match="not called where it was called in the first forward pass"):
        record(model, X, "1.1.relu", batch_size=12)


def test_a_loop_is_no_branch():
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x):
            for _ in range(3):
                x = functional.relu(self.fc(x))
            return x

    assert record(Loop(), X, batch_size=6).layers == ["relu", "relu_1", "relu_2"]


def test_a_model_that_calls_itself_is_refused():
    class Recursive(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 6)

        def forward(self, x, depth=0):
            x = torch.relu(self.fc(x))
            return x if depth == 2 else self(x, depth + 1)

    model = Recursive()
    with pytest.raises(ValueError, match=r"Recursive calls itself within its own forward pass.*around it"):
        record(model, X)
    around = nn.Sequential(model)
    assert record(around, X).layers == ["0.relu", "0.relu_1", "0.relu_2"]

"""channel, y and x: right, or unknown. Planted truth: one pixel of one channel is lit, one unit spikes."""

import json
import weakref

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import ann2neo
from ann2neo import Monitor, Probe, Recording, SpikeRaster, Summary, record, summarize
from ann2neo.interop.description import describe, rebuild
from ann2neo.model.hooks.watching.functions import ACTIVATIONS
from ann2neo.model.hooks.watching.maps import Maps

N_CHANNELS, HEIGHT, WIDTH = 5, 4, 4
CHANNEL, Y, X = 3, 1, 2
"""What is lit."""


def image(n_stimuli=2):
    lit = torch.zeros(n_stimuli, N_CHANNELS, HEIGHT, WIDTH)
    lit[:, CHANNEL, Y, X] = 1
    return lit


class Net(nn.Module):
    """A convolution that changes nothing, and what a function makes of it; ``act`` is what is recorded."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(N_CHANNELS, N_CHANNELS, 1, bias=False)
        self.linear, self.mix = (
            nn.Linear(N_CHANNELS, N_CHANNELS, bias=False),
            nn.Linear(HEIGHT, HEIGHT, bias=False),
        )
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(N_CHANNELS)[:, :, None, None])
            self.linear.weight.copy_(torch.eye(N_CHANNELS))
            self.mix.weight.copy_(torch.eye(HEIGHT))
        self.norm, self.act, self.function = nn.LayerNorm(N_CHANNELS), nn.ReLU(), function

    def forward(self, x):
        return self.act(self.function(self, x)).sum()[None].expand(len(x))


def windows(net, x):
    """Add to a map what is made of it in windows, as Swin does."""
    x = net.conv(x).permute(0, 2, 3, 1)
    parts = x.reshape(-1, 2, 2, 2, 2, N_CHANNELS).transpose(2, 3).reshape(-1, 4, N_CHANNELS)
    parts = net.linear(parts).reshape(-1, 2, 2, 2, 2, N_CHANNELS).transpose(2, 3)
    return x + parts.reshape(-1, HEIGHT, WIDTH, N_CHANNELS)


def by_hand(net, x):
    """Write the result of a convolution into memory that is there already, which tells nothing."""
    made = torch.zeros_like(x)
    made[:, :2], made[:, 2:] = net.conv(x).split([2, 3], 1)
    return made


def shuffled(net, x):
    x = functional.pad(net.conv(x), (0, 0, 0, 0, 0, 1)).unflatten(1, (2, 3)).transpose(1, 2)
    return x.transpose(1, 2).flatten(1, 2)[:, :N_CHANNELS]


KNOWN = {
    "channels first": lambda net, x: net.conv(x),
    "a linear layer": lambda net, x: net.linear(net.conv(x).permute(0, 2, 3, 1)),
    "a norm": lambda net, x: net.norm(net.conv(x).movedim(1, -1)) - 1,
    "back again": lambda net, x: net.linear(net.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2),
    "rows, channels, columns": lambda net, x: net.conv(x).transpose(1, 2),
    "tokens and back": lambda net, x: net.linear(net.conv(x).flatten(2).mT).unflatten(1, (HEIGHT, WIDTH)),
    "windows": windows,
    "a shuffle of channels": shuffled,
    "einsum": lambda net, x: torch.einsum("nchw,dc->nhwd", net.conv(x), net.linear.weight),
    "weights on the left": lambda net, x: (net.linear.weight @ net.conv(x).flatten(2)).unflatten(2, (4, 4)),
    "a gate": lambda net, x: net.conv(x) * net.conv(x).mean((2, 3), keepdim=True).sigmoid(),
    "a sum in place": lambda net, x: net.conv(x).add_(x),
    "joined": lambda net, x: torch.cat([net.conv(x), x - 1], 1),
    "pooled": lambda net, x: functional.max_pool2d(x, 1),
    "a part": lambda net, x: functional.interpolate(net.conv(x), scale_factor=2)[:, :, ::2, ::2],
    "moved": lambda net, x: torch.movedim(net.conv(x), (1, 2), (3, 1)),
}
"""What tells where the channels are, at least to one who knows what torch's functions do."""

UNKNOWN = {
    "nothing is told": lambda net, x: x + 0,
    "columns are mixed": lambda net, x: net.mix(net.conv(x)),
    "upside down": lambda net, x: net.conv(x).transpose(2, 3),
    "all rolled": lambda net, x: net.conv(x).roll(1),
    "rolled": lambda net, x: net.conv(x).roll(1, 2),
    "heads": lambda net, x: net.conv(x).flatten(2).mT.unflatten(1, (4, 4)).softmax(-1)[..., None, :].mean(2),
    "attention": lambda net, x: (net.conv(x).flatten(2).mT @ net.conv(x).flatten(2))[:, None],
    "channels apart": lambda net, x: net.conv(x)[:, :4].unflatten(1, (2, 2)).flatten(2, 3),
    "windows among the stimuli": lambda net, x: net.conv(x).reshape(-1, N_CHANNELS, 2, 2, WIDTH).select(2, 0),
    "stacked": lambda net, x: torch.stack(net.conv(x).permute(0, 2, 3, 1).unbind(-1), 1),
    "by hand": by_hand,
}


def lit(net, **more):
    """Return channel, y and x of the unit that spikes."""
    recording = record(net, image(), "act", **more)
    spikes = recording.raster("act").all(axis=1)
    units = recording.units[["channel", "y", "x"]]
    assert spikes.any()
    return [tuple(row) for row in units[spikes].to_numpy().tolist()]


@pytest.mark.parametrize("what", KNOWN)
def test_it_is_found_out_where_it_can_be(what):
    assert lit(Net(KNOWN[what])) == [(CHANNEL, Y, X)]
    with torch.inference_mode():  # in which more operations are unknown
        assert lit(Net(KNOWN[what])) == [(-1, -1, -1) if what == "einsum" else (CHANNEL, Y, X)]


@pytest.mark.parametrize("what", UNKNOWN)
def test_it_is_unknown_where_it_is_not_sure(what):
    assert set(lit(Net(UNKNOWN[what]))) == {(-1, -1, -1)}


@pytest.mark.parametrize("kind", ACTIVATIONS)
@pytest.mark.parametrize("in_place", [False, True])
def test_an_activation_takes_nothing_elsewhere(kind, in_place):
    given = {nn.Threshold: (0.1, 20.0)}.get(kind, ())
    try:
        act = kind(*given, inplace=True) if in_place else kind(*given)
    except TypeError:
        pytest.skip("it has no variant in place")
    x = torch.zeros(2, 3, 6, 6)
    for grad in (False, True):
        with torch.set_grad_enabled(grad), Maps() as maps:
            assert maps.channel_dim(act(nn.Conv2d(3, 4, 3)(x) + 0)) == 0
            last = act(nn.Linear(4, 4)(nn.Conv2d(3, 4, 3)(x).movedim(1, -1)))
            assert maps.channel_dim(last) == (None if kind is nn.GLU else 2) or last.shape[-1] == 2


def test_in_functions_that_torch_names_otherwise():
    for function in (torch._C._nn.hardswish_, functional.relu_, torch.sigmoid_):
        with Maps() as maps, torch.no_grad():
            assert maps.channel_dim(function(nn.Conv2d(3, 4, 3)(torch.zeros(2, 3, 6, 6)))) == 0


class Film(nn.Module):
    """A convolution over each frame, (n, T, c, y, x), or over all of them, (n, c, T, y, x)."""

    def __init__(self, over_time):
        super().__init__()
        net = Net(KNOWN["channels first"])
        self.over_time, self.conv, self.act = over_time, net.conv, nn.ReLU()
        self.over = nn.Conv3d(N_CHANNELS, N_CHANNELS, 1, bias=False)
        self.over.weight = nn.Parameter(net.conv.weight[..., None].detach())

    def forward(self, x):
        if self.over_time:
            return self.act(self.over(x.transpose(1, 2)))
        return self.act(self.conv(x.flatten(0, 1)).unflatten(0, x.shape[:2]))


@pytest.mark.parametrize(("over_time", "time_dim", "channel_dim"), [(False, 1, 2), (True, 2, 1)])
def test_of_films(over_time, time_dim, channel_dim):
    film, frames = Film(over_time), image(6).unflatten(0, (2, 3))
    for told in (None, channel_dim, channel_dim - 5, {"act": channel_dim}, {"*": channel_dim}):
        recording = record(film, frames, "act", time_dim=time_dim, channel_dim=told)
        found = recording.units[recording.raster("act").all(axis=1)]
        assert found[["channel", "y", "x"]].to_numpy().tolist() == [[CHANNEL, Y, X]]
    with pytest.raises(ValueError, match=r"can only be dimension"):
        record(film, frames, "act", time_dim=time_dim, channel_dim=time_dim)


class Calls(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.act = Net(None), nn.ReLU()

    def forward(self, x):
        return sum(self.act(self.net.conv(x).permute(0, 2, 3, 1)) for _ in range(3))


@pytest.mark.parametrize("told", [None, 3, -1, {"act": 3}])
def test_of_calls(told):
    recording = record(Calls(), image(), "act", time_dim="calls", channel_dim=told)
    found = recording.units[recording.raster("act").all(axis=1)]
    assert found[["channel", "y", "x"]].to_numpy().tolist() == [[CHANNEL, Y, X]]
    assert recording.n_bins == 6


# -- told --------------------------------------------------------------------------------------------


def test_the_user_tells_what_is_unknown():
    rows_first, columns_first = Net(UNKNOWN["nothing is told"]), Net(UNKNOWN["upside down"])
    assert lit(rows_first, channel_dim=1) == lit(rows_first, channel_dim=-3) == [(CHANNEL, Y, X)]
    assert lit(columns_first, channel_dim={"act": 1}) == [(CHANNEL, X, Y)]


def test_what_the_user_tells_wins():
    assert lit(Net(KNOWN["channels first"]), channel_dim=3) == [(X, CHANNEL, Y)]


def flat():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4), nn.ReLU())


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (0, r"channel_dim=0, but the channel of layer '1' can only be dimension 1, 2 or 3 of its output"),
        (4, r"channel_dim=4, but the channel of layer '1'"),
        (-4, r"channel_dim=-4, but"),
        ({"4": 1}, r"channel_dim names layer '4', whose activation has the shape \(4,\)"),
        ({"5": 1}, r"channel_dim has the key '5', but no recorded layer has that name"),
        (1.0, r"channel_dim=1.0: give the number of a dimension"),
        (True, r"channel_dim=True: give the number of a dimension"),
        ({"1": "last"}, r"give the number of a dimension"),
    ],
)
def test_what_cannot_be(told, message):
    with pytest.raises(ValueError, match=message):
        record(flat(), torch.randn(3, 1, 4, 4), channel_dim=told)


def test_layers_that_are_no_maps_have_none():
    recording = record(flat(), torch.randn(3, 1, 4, 4), channel_dim=1)
    assert (recording.units.query("layer == '4'")[["channel", "y", "x"]] == -1).all(axis=None)
    assert (recording.units.query("layer == '1'").channel.to_numpy() == [0, 0, 0, 0, 1, 1, 1, 1]).all()


def test_on_every_road():
    net, x = Net(KNOWN["rows, channels, columns"]), image(8)
    expected = record(net, x, "act").units
    assert expected.channel.tolist() == [c for _ in range(4) for c in range(5) for _ in range(4)]
    told = Net(UNKNOWN["nothing is told"])
    for more in ({}, {"channel_dim": 1}):
        model = told if more else net
        wanted = record(model, x, "act", **more).units
        with Probe(model, "act", **more) as probe, torch.no_grad():
            model(x)
        monitor = Monitor("act", window=2, **more)
        looks = monitor.observe(model, x).units
        summary = summarize(model, x, "act", window=2, **more)
        again = record(model, x, "act", **more).summarize(2).units
        for units in (probe.recording.units, summary.units, summary.places, again, looks):
            for column in ("channel", "y", "x"):
                assert (units[column].to_numpy() == wanted[column].to_numpy()).all()


# -- kept --------------------------------------------------------------------------------------------


@pytest.fixture(params=[2, 1, None])
def recording(request):
    dense = np.random.default_rng(0).random((12, 9)) < 0.4
    rasters = {
        "last": SpikeRaster.from_dense(dense, shape=(2, 2, 3), channel_dim=request.param),
        "first": SpikeRaster.from_dense(dense, shape=(3, 2, 2)),
    }
    return Recording(rasters)


@pytest.mark.parametrize("suffix", [".nwb", ".nix", ".mat", ".pkl"])
def test_files_keep_it(recording, suffix, tmp_path):
    read = ann2neo.load(ann2neo.save(recording, tmp_path / f"net{suffix}"), trust=True)
    assert read == recording
    assert read.units.equals(recording.units)


def test_what_is_made_of_it_keeps_it(recording):
    places = recording.units
    summary = recording.summarize(3)
    merged = Summary.from_state_dict(summary.state_dict()).places
    fit = summary.fit_poisson()
    simulated = Recording.from_neo(fit.simulate("bernoulli"))
    columns = ["layer", "unit", "channel", "y", "x"]
    for units in (summary.units, merged, fit.units, simulated.units, recording.select(layers="last").units):
        assert units[columns].equals(places[columns][: len(units)])
    assert Recording.from_neo(recording.to_neo()) == recording
    assert summary.channel_dims == {name: raster.channel_dim for name, raster in recording.rasters.items()}


def test_summaries_keep_it_in_files(recording, tmp_path):
    summary = recording.summarize(3)
    assert Summary.load(summary.save(tmp_path / "part.npz")).units.equals(summary.units)


def test_neo_is_told_of_places_that_are_known_only(recording):
    train = recording.to_neo().segments[0].spiketrains[5]
    dim = recording.rasters["last"].channel_dim
    told = {name: train.annotations.get(name) for name in ("channel", "y", "x")}
    assert told == {2: {"channel": 2, "y": 0, "x": 1}, 1: {"channel": 1, "y": 0, "x": 2}}.get(
        dim, dict.fromkeys(told)
    )


def test_files_without_it_read_as_before():
    raster = SpikeRaster.from_dense(np.eye(4, dtype=bool), shape=(2, 2, 1))
    told = json.loads(describe(Recording({"conv": raster})))
    assert told["layers"][0].pop("channel_dim") == 0
    assert rebuild(json.dumps(told), lambda time, names: raster.packed).rasters["conv"] == raster
    state = Recording({"conv": raster}).summarize(2).state_dict()
    for layer in state["layers"]:
        del layer["channel_dim"]
    assert Summary.from_state_dict(state).channel_dims == {"conv": 0}


def test_rasters_differ_in_it(recording):
    other = SpikeRaster.from_dense(recording.raster("last"), shape=(2, 2, 3), channel_dim=0)
    assert other != recording.rasters["last"]
    with pytest.raises(ValueError, match="channel_dim=3: give 0, 1 or 2"):
        SpikeRaster.from_dense(np.zeros((1, 2)), channel_dim=3)


def test_parts_that_differ_in_it_are_not_merged():
    model, x = Net(UNKNOWN["nothing is told"]), image(8)
    one = summarize(model, x[:4], "act", window=2, n_stimuli=8)
    other = summarize(model, x[4:], "act", window=2, start=4, n_stimuli=8, channel_dim=1)
    with pytest.raises(
        ValueError, match="dimension 0 of a bin, but it is unknown in the summary: give the same"
    ):
        one.merge(other)


# -- no trace ----------------------------------------------------------------------------------------


def test_the_first_pass_gives_what_it_would_give():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.InstanceNorm2d(8), nn.GELU(), nn.Flatten(2))
    x = torch.randn(2, 3, 10, 10)
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with mode():
            alone = encoder(model(x).mT)
            with Maps():
                assert torch.equal(encoder(model(x).mT), alone)
            alone = nn.functional.interpolate(x, scale_factor=1.7, mode="bicubic")
            with Maps():
                assert torch.equal(nn.functional.interpolate(x, scale_factor=1.7, mode="bicubic"), alone)


def test_memory_of_the_pass_is_not_held():
    conv = nn.Conv2d(3, 8, 3)
    with Maps() as maps, torch.no_grad():
        activation = conv(torch.zeros(1, 3, 8, 8))
        storage = weakref.ref(activation)
        del activation
        assert storage() is None
        # memory that is used again tells nothing of what was there
        others = [torch.zeros(1, 8, 6, 6) for _ in range(50)]
        assert not any(maps.channel_dim(other) is not None for other in others)

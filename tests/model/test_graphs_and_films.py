"""Graphs, whose nodes are bins, and films, whose frames are steps."""

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Probe, Summary, layers, record, summarize

N_NODES = 30


class Network(nn.Module):
    """Adds up what the neighbours of each node send, and reads a number out of each graph."""

    def __init__(self, reads_out=True):
        super().__init__()
        torch.manual_seed(0)
        self.of_edges, self.act, self.decision = nn.Sigmoid(), nn.ReLU(), nn.Tanh()
        self.linear, self.reads_out = nn.Linear(4, 5), reads_out

    def forward(self, x, edge_index, batch=None):
        source, target = edge_index
        sent = self.linear(x)[source] * self.of_edges(x[target, :1])
        nodes = self.act(torch.zeros(len(x), 5).index_add(0, target, sent))
        if not self.reads_out:
            return nodes
        batch = torch.zeros(len(x), dtype=torch.long) if batch is None else batch
        return self.decision(torch.zeros(int(batch.max()) + 1, 5).index_add(0, batch, nodes))


def graph(n_nodes=N_NODES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(n_nodes, (2, 3 * n_nodes), generator=generator)
    return {"x": torch.randn(n_nodes, 4, generator=generator), "edge_index": edges}


def joined(graphs):
    sizes = [len(each["x"]) for each in graphs]
    starts = np.cumsum(sizes) - sizes
    edges = [each["edge_index"] + start for each, start in zip(graphs, starts, strict=True)]
    of_graph = torch.arange(len(graphs)).repeat_interleave(torch.tensor(sizes))
    return {"x": torch.cat([g["x"] for g in graphs]), "edge_index": torch.cat(edges, 1), "batch": of_graph}


def nodes(model, graphs):
    """Return units by the nodes of all graphs, each shown alone."""
    network = Network(reads_out=False)
    network.load_state_dict(model.state_dict())
    with torch.no_grad():
        return (torch.cat([network(**each) for each in graphs]) > 0).T.numpy()


GRAPHS = [graph(n, n) for n in (5, 3, 9, 6)]


@pytest.mark.parametrize("as_numpy", [False, True])
def test_a_graph_is_not_cut(as_numpy):
    """Without edges at the last nodes a part would be no error."""
    whole = graph()
    whole["edge_index"] %= 20
    given = {name: value.numpy() for name, value in whole.items()} if as_numpy else whole
    with pytest.warns(UserWarning, match=r"not recorded.*'of_edges': \(90, 1\), 'decision': \(1, 5\)"):
        recording = record(Network(), given, batch_size=8, labels=[1])
    np.testing.assert_array_equal(recording.raster("act"), nodes(Network(), [whole]))
    assert recording.stimuli.onsets.tolist() == [0]
    summary = summarize(Network(), whole, "act", window=3, batch_size=8)
    assert summary.units.equals(record(Network(), whole, "act").summarize(3).units)


def test_stimuli_are_graphs():
    model, batches, summary = Network(), [joined(GRAPHS[:3]), joined(GRAPHS[3:])], Summary(window=3)
    with Probe(model, "act") as probe, Probe(model, "act", into=[summary]):
        for batch in batches:
            model(batch["x"], batch["edge_index"], batch["batch"])  # by position
    labels = np.array([0, 1, 1, 0])
    recording = record(model, [dict(batch) for batch in batches], "act", labels=labels)
    for each in (probe.recording, recording):
        np.testing.assert_array_equal(each.raster("act"), nodes(model, GRAPHS))
        np.testing.assert_array_equal(each.stimuli.onsets, [0, 5, 8, 17])
    np.testing.assert_array_equal(recording.labels, np.repeat(labels, [5, 3, 9, 6]))
    assert summary.units.equals(recording.summarize(3).units)


def test_what_is_of_edges_or_of_graphs_is_left_out_or_refused():
    model, batch = Network(), joined(GRAPHS)
    with pytest.warns(UserWarning, match=r"'of_edges': \(69, 1\), 'decision': \(4, 5\)"):
        recording = record(model, [batch, batch])
    assert recording.layers == ["act"]
    with pytest.raises(ValueError, match=r"'decision' gives shape \(4, 5\) for 23 nodes"):
        record(model, batch, ["act", "decision"])
    with pytest.raises(ValueError, match="time_dim=1, but the stimuli are graphs"):
        record(model, batch, "act", time_dim=1)
    with pytest.raises(ValueError, match="sort the nodes by their graphs"):
        record(model, {**batch, "batch": batch["batch"].flip(0)}, "act")


class Data:
    """A graph as torch_geometric has it."""

    def __init__(self, **values):
        self.values = values

    def __getattr__(self, name):
        try:
            return self.__dict__["values"][name]
        except KeyError:
            raise AttributeError(name) from None

    def to_dict(self):
        return self.values

    def to(self, device):
        return self


class OfData(Network):
    """Takes a graph whole."""

    def forward(self, data):
        return super().forward(data.x, data.edge_index, data.batch)


@pytest.mark.parametrize("kind", [Network, OfData])
def test_graphs_as_torch_geometric_has_them(kind):
    model = kind()
    batches = [
        Data(**joined(GRAPHS[:3]), y=torch.tensor([0, 1, 1])),
        Data(**joined(GRAPHS[3:]), y=torch.tensor([0])),
    ]
    recording = record(model, batches, "act")
    np.testing.assert_array_equal(recording.raster("act"), nodes(model, GRAPHS))
    np.testing.assert_array_equal(recording.stimuli.labels, [0, 1, 1, 0])
    assert "act" in list(layers(model, batches).layer)
    if kind is OfData:
        with Probe(model, "act") as probe:
            [model(batch) for batch in batches]
        np.testing.assert_array_equal(probe.recording.stimuli.onsets, [0, 5, 8, 17])


def test_a_single_graph_for_a_model_that_wants_the_graph_of_each_node():
    class Strict(Network):
        def forward(self, x, edge_index, batch):
            return super().forward(x, edge_index, batch)

    model = Strict()
    recording = record(model, [Data(**each) for each in GRAPHS], "act")
    np.testing.assert_array_equal(recording.raster("act"), nodes(model, GRAPHS))


# -- films ---------------------------------------------------------------------------------------------

FILMS = torch.randn(4, 3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


class Film(nn.Module):
    """A network of images on the frames, and a recurrent one on what it gives, and one more on the states."""

    def __init__(self, order="stimuli", scales=False):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act = nn.Conv2d(2, 3, 3), nn.ReLU()
        self.rnn, self.last = nn.GRU(48, 5, batch_first=True), nn.Tanh()
        self.norm = nn.InstanceNorm3d(3) if scales else nn.Identity()
        self.order = order

    def forward(self, x):
        n_films, n_frames = x.shape[:2]
        x = self.norm(x)
        if self.order == "stimuli":
            maps = self.act(self.conv(x.flatten(0, 1))).reshape(n_films, n_frames, -1)
        elif self.order == "steps":
            frames = x.transpose(0, 1).reshape(-1, *x.shape[2:])
            maps = self.act(self.conv(frames)).reshape(n_frames, n_films, -1).transpose(0, 1)
        else:  # some other order
            frames = x.flatten(0, 1).flip(0)
            maps = self.act(self.conv(frames)).flip(0).reshape(n_films, n_frames, -1)
        return self.last(self.rnn(maps)[0])


def frames(model, films=FILMS):
    """Show each frame alone: units by the frames of all films."""
    with torch.no_grad():
        shown = [model.act(model.conv(model.norm(film[None])[0])) for film in films]
    return (torch.cat(shown).flatten(1) > 0).T.numpy()


@pytest.mark.parametrize("order", ["stimuli", "steps"])
@pytest.mark.parametrize("scales", [False, True])
def test_frames_are_steps(order, scales):
    model, summary = Film(order, scales), Summary(window=3)
    recording = record(model, FILMS, time_dim=1, batch_size=3)
    assert recording.layers == ["act", "last"]
    np.testing.assert_array_equal(recording.raster("act"), frames(model))
    np.testing.assert_array_equal(recording.stimuli.onsets, 3 * np.arange(4))
    assert recording.rasters["act"].shape == (3, 4, 4)
    alone = record(model, FILMS, "act", time_dim=1, batch_size=3)
    np.testing.assert_array_equal(alone.raster("act"), frames(model))
    with Probe(model, time_dim=1, into=[summary]):
        for part in FILMS.split(3):
            model(part)
    assert summary.units.equals(recording.summarize(3).units)


def test_frames_that_are_padding_are_left_out():
    lengths = np.array([2, 3, 1, 3])
    recording = record(Film(), FILMS, time_dim=1, lengths=lengths)
    shown = (np.arange(3) < lengths[:, None]).ravel()
    np.testing.assert_array_equal(recording.raster("act"), frames(Film())[:, shown])


def test_films_of_other_lengths_in_each_batch():
    model, parts = Film(), [FILMS[:2], FILMS[2:, :1], FILMS[2:, :2]]
    recording = record(model, parts, time_dim=1)
    expected = [frames(model, part) for part in parts]
    np.testing.assert_array_equal(recording.raster("act"), np.concatenate(expected, 1))


@pytest.mark.parametrize("films", [FILMS, torch.zeros(4, 3, 2, 6, 6)], ids=["other order", "zeros"])
def test_an_order_that_is_not_known_is_refused(films):
    model = Film("other" if films is FILMS else "steps")
    with pytest.raises(ValueError, match=r"12 activations for a batch of 4 stimuli"):
        record(model, films, "act", time_dim=1)


def test_films_of_one_frame_do_not_show_what_frames_are():
    with pytest.raises(ValueError, match=r"films of one frame.*show films of several frames first"):
        record(Film(), FILMS[:, :1], "act", time_dim=1)


def test_two_orders_in_one_model_are_refused():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = Film("stimuli"), Film("steps")

        def forward(self, x):
            return self.one(x) + self.two(x)

    with pytest.raises(ValueError, match="in two orders, by stimulus and by step"):
        record(Both(), FILMS, time_dim=1)


def test_rows_of_grey_images_can_be_steps():
    """The images lose their one channel, as a film of one frame would lose its step."""

    class Rows(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.GRU(6, 5, batch_first=True)

        def forward(self, x):
            return self.rnn(x.squeeze(1))[0]

    model, images = Rows(), torch.randn(4, 1, 8, 6)
    recording = record(model, images, "rnn", time_dim=1, batch_size=3)
    with torch.no_grad():
        expected = model.rnn(images[:, 0])[0].flatten(0, 1) > 0
    np.testing.assert_array_equal(recording.raster("rnn"), expected.T)

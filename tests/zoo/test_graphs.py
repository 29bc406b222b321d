"""Graphs: the bins are nodes, the stimuli graphs, and a graph is never cut."""

import numpy as np
import pytest
import torch
from torch import nn

import ann2neo

from .capture import capture
from .checks import check, quiet, recorded, to_come

pytestmark = pytest.mark.zoo

N_NODES = 50
BY_NAME = {
    "GCN": ("act",),
    "GAT": ("act",),
    "GIN": ("act", "convs.*.nn.act"),
    "GraphSAGE": ("act",),
}


def graph():
    torch.manual_seed(1)
    return {"x": torch.randn(N_NODES, 16), "edge_index": torch.randint(N_NODES, (2, 200))}


def of_kind(kind):
    pytest.importorskip("torch_geometric")
    with quiet():
        from torch_geometric.nn import models

        torch.manual_seed(0)
        return getattr(models, kind)(16, 32, 3)


@pytest.mark.parametrize("kind", BY_NAME)
def test_nodes_are_bins(kind):
    network, nodes = of_kind(kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(BY_NAME[kind])
    assert len(activations) >= 2
    recording, _ = recorded(network, nodes, list(activations), batch_size=1000)
    check(recording, activations)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            kind,
            marks=to_come("item 11: a clamp of the number of neighbours is recorded")
            if kind == "GraphSAGE"
            else [],
        )
        for kind in BY_NAME
    ],
)
def test_by_default_the_activations_of_nodes_are_recorded(kind):
    network, nodes = of_kind(kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(BY_NAME[kind])
    recording, warned = recorded(network, nodes, batch_size=1000)
    check(recording, activations)
    # what GAT computes of each edge is no node
    assert len(warned) == (kind == "GAT")
    assert all("leaky_relu" in each for each in warned)


@pytest.mark.parametrize("kind", BY_NAME)
@to_come("item 16: more than batch_size nodes are cut", RuntimeError, IndexError)
def test_a_graph_is_not_cut(kind):
    network, nodes = of_kind(kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(BY_NAME[kind])
    recording, _ = recorded(network, nodes, list(activations), batch_size=20)
    check(recording, activations)


@to_come("item 16: a graph is cut without a word where its edges allow it")
def test_a_graph_whose_edges_allow_it_is_not_cut_either():
    """Nodes past the first 20 have no edges, so that a cut raises nothing."""
    network, nodes = of_kind("GCN"), graph()
    nodes["edge_index"] = nodes["edge_index"] % 20
    activations = capture(network, [(nodes, N_NODES)]).chosen(BY_NAME["GCN"])
    recording, _ = recorded(network, nodes, list(activations), batch_size=25)
    check(recording, activations)


# -- graph classification ----------------------------------------------------------------------------


class Classifier(nn.Module):
    """As the tutorials of PyTorch Geometric write it."""

    def __init__(self):
        super().__init__()
        from torch_geometric.nn import GCNConv

        self.conv1, self.conv2 = GCNConv(16, 12), GCNConv(12, 12)
        self.act, self.head, self.decision = nn.ReLU(), nn.Linear(12, 5), nn.Tanh()

    def forward(self, x, edge_index, batch):
        from torch_geometric.nn import global_mean_pool

        x = self.act(self.conv1(x, edge_index))
        x = self.act(self.conv2(x, edge_index))
        return self.decision(self.head(global_mean_pool(x, batch)))


@pytest.fixture
def classified():
    """Return a classifier, batches of graphs, and what its activation gives for every node."""
    pytest.importorskip("torch_geometric")
    with quiet():
        from torch_geometric.data import Batch, Data

        torch.manual_seed(0)
        graphs = [
            Data(x=torch.randn(n, 16), edge_index=torch.randint(n, (2, 3 * n))) for n in range(4, 4 + 9)
        ]
        batches = [Batch.from_data_list(graphs[:4]), Batch.from_data_list(graphs[4:])]
        model = Classifier().eval()
    shown = [({"x": b.x, "edge_index": b.edge_index, "batch": b.batch}, len(b.x)) for b in batches]
    return model, shown, capture(model, shown).chosen(["act"]), np.arange(4, 4 + 9)


def test_nodes_of_batches_of_graphs_are_bins(classified):
    model, shown, activations, _ = classified
    with ann2neo.Probe(model, "act") as probe, torch.no_grad():
        for arguments, _ in shown:
            model(**arguments)
    check(probe.recording, activations)


@to_come("item 16: each node is taken for a stimulus")
def test_stimuli_are_graphs(classified):
    model, shown, activations, n_nodes = classified
    with ann2neo.Probe(model, "act") as probe, torch.no_grad():
        for arguments, _ in shown:
            model(**arguments)
    check(probe.recording, activations)
    np.testing.assert_array_equal(probe.recording.stimuli.onsets, np.cumsum(n_nodes) - n_nodes)


@to_come("item 16: what is computed of each graph ends the pass")
def test_what_is_computed_of_each_graph_is_left_out(classified):
    model, shown, activations, _ = classified
    with ann2neo.Probe(model) as probe, torch.no_grad():
        with pytest.warns(UserWarning, match="decision"):
            model(**shown[0][0])
        model(**shown[1][0])
    check(probe.recording, activations)

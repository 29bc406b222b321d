"""Graphs: the bins are nodes, the stimuli graphs, and a graph is never cut."""

import numpy as np
import pytest
import torch

import ann2neo

from .capture import capture
from .checks import built, check, recorded
from .special import N_NODES, OF_NODES, classifier, graph, of_nodes

pytestmark = pytest.mark.zoo


@pytest.mark.parametrize("kind", OF_NODES)
def test_nodes_are_bins(kind):
    network, nodes = built("torch_geometric", of_nodes, kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(OF_NODES[kind])
    assert len(activations) >= 2
    recording, _ = recorded(network, nodes, list(activations), batch_size=1000)
    check(recording, activations)


@pytest.mark.parametrize("kind", OF_NODES)
def test_by_default_the_activations_of_nodes_are_recorded(kind):
    network, nodes = built("torch_geometric", of_nodes, kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(OF_NODES[kind])
    recording, warned = recorded(network, nodes, batch_size=1000)
    check(recording, activations)
    # what GAT computes of each edge is no node
    assert len(warned) == (kind == "GAT")
    assert all("leaky_relu" in each for each in warned)


@pytest.mark.parametrize("kind", OF_NODES)
def test_a_graph_is_not_cut(kind):
    network, nodes = built("torch_geometric", of_nodes, kind), graph()
    activations = capture(network, [(nodes, N_NODES)]).chosen(OF_NODES[kind])
    recording, _ = recorded(network, nodes, list(activations), batch_size=20)
    check(recording, activations)


def test_a_graph_whose_edges_allow_it_is_not_cut_either():
    """Nodes past the first 20 have no edges, so that a cut raises nothing."""
    network, nodes = built("torch_geometric", of_nodes, "GCN"), graph()
    nodes["edge_index"] = nodes["edge_index"] % 20
    activations = capture(network, [(nodes, N_NODES)]).chosen(OF_NODES["GCN"])
    recording, _ = recorded(network, nodes, list(activations), batch_size=25)
    check(recording, activations)


# -- graph classification ----------------------------------------------------------------------------


@pytest.fixture
def classified():
    """Return a classifier, batches, what its activation gives for every node, and the nodes of each graph."""
    model, shown, n_nodes = built("torch_geometric", classifier)
    return model, shown, capture(model, shown).chosen(["act"]), n_nodes


def test_nodes_of_batches_of_graphs_are_bins(classified):
    model, shown, activations, _ = classified
    with ann2neo.Probe(model, "act") as probe, torch.no_grad():
        for arguments, _ in shown:
            model(**arguments)
    check(probe.recording, activations)


def test_stimuli_are_graphs(classified):
    model, shown, activations, n_nodes = classified
    with ann2neo.Probe(model, "act") as probe, torch.no_grad():
        for arguments, _ in shown:
            model(**arguments)
    check(probe.recording, activations)
    np.testing.assert_array_equal(probe.recording.stimuli.onsets, np.cumsum(n_nodes) - n_nodes)


def test_what_is_computed_of_each_graph_is_left_out(classified):
    model, shown, activations, _ = classified
    with ann2neo.Probe(model) as probe, torch.no_grad():
        with pytest.warns(UserWarning, match="decision"):
            model(**shown[0][0])
        model(**shown[1][0])
    check(probe.recording, activations)


@pytest.mark.parametrize("kind", ["loader", "list", "dataset"])
def test_objects_of_the_library_are_stimuli(kind):
    model, _, n_nodes = built("torch_geometric", classifier)
    from torch_geometric.data import Batch, Data
    from torch_geometric.loader import DataLoader

    torch.manual_seed(1)
    graphs = [
        Data(x=torch.randn(n, 16), edge_index=torch.randint(n, (2, 3 * n)), y=torch.tensor([n % 2]))
        for n in n_nodes
    ]

    class Set(torch.utils.data.Dataset):
        def __len__(self):
            return len(graphs)

        def __getitem__(self, i):
            return graphs[i]

    whole = Batch.from_data_list(graphs)
    arguments = {"x": whole.x, "edge_index": whole.edge_index, "batch": whole.batch}
    activations = capture(model, [(arguments, len(whole.x))]).chosen(["act*"])
    stimuli = {"loader": DataLoader(graphs, 4), "list": graphs, "dataset": Set()}[kind]
    recording, _ = recorded(model, stimuli, "act", batch_size=4)
    check(recording, activations)
    np.testing.assert_array_equal(recording.stimuli.onsets, np.cumsum(n_nodes) - n_nodes)
    np.testing.assert_array_equal(recording.stimuli.labels, np.array(n_nodes) % 2)

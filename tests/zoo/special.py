"""More models of other people, which take tests of their own: spiking, of graphs, of boxes, of films."""

import torch
import torchvision
from torch import nn
from torch.nn import functional

from .models import N_STIMULI, TEXT

N_STEPS = 20


# -- spiking -----------------------------------------------------------------------------------------


class Loop(nn.Module):
    """A loop over the steps of (stimuli, steps, units) inside the model, without a reset."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return torch.stack([self.network(step) for step in x.unbind(1)], 1)


def currents():
    """Return (n_stimuli, n_steps, 6), strong enough for spikes."""
    torch.manual_seed(1)
    return 4 * torch.rand(N_STIMULI, N_STEPS, 6)


def _weighted(network):
    """Give a network weights that make it spike, always the same."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(3 * torch.rand(parameter.shape, generator=generator) - 1)
    return network


def snntorch():
    """Return a network for one step, its reset, and its state."""
    from snntorch import Leaky, utils

    network = nn.Sequential(
        nn.Linear(6, 8), Leaky(beta=0.9, init_hidden=True), nn.Linear(8, 3), Leaky(beta=0.9, init_hidden=True)
    )
    return _weighted(network), lambda: utils.reset(network), lambda: [network[1].mem, network[3].mem]


def spikingjelly():
    """Return a network for one step, its reset, and its state."""
    from spikingjelly.activation_based import functional, neuron

    network = nn.Sequential(nn.Linear(6, 8), neuron.LIFNode(), nn.Linear(8, 3), neuron.IFNode())
    return _weighted(network), lambda: functional.reset_net(network), lambda: [network[1].v, network[3].v]


def spikingjelly_of_steps():
    """Return a network that takes all steps, (n_steps, n_stimuli, 6), at once."""
    from spikingjelly.activation_based import functional, layer, neuron

    network = nn.Sequential(layer.Linear(6, 8), neuron.LIFNode(), layer.Linear(8, 3), neuron.IFNode())
    functional.set_step_mode(network, "m")
    return _weighted(network)


def norse():
    """Return a network that takes one step and its state."""
    from norse.torch import LIFCell, SequentialState

    return _weighted(SequentialState(nn.Linear(6, 8), LIFCell(), nn.Linear(8, 3), LIFCell()))


def norse_of_steps():
    """Return a network that takes all steps, (n_steps, n_stimuli, 6), at once, and keeps no state."""
    from norse.torch import LIF, SequentialState

    return _weighted(SequentialState(nn.Linear(6, 8), LIF(), nn.Linear(8, 3), LIF()))


# -- graphs ------------------------------------------------------------------------------------------

N_NODES = 50
OF_NODES = {"GCN": ("act",), "GAT": ("act",), "GIN": ("act", "convs.*.nn.act"), "GraphSAGE": ("act",)}
"""Networks of torch_geometric, and globs for their activations."""


def graph():
    """Return one graph by name."""
    torch.manual_seed(1)
    return {"x": torch.randn(N_NODES, 16), "edge_index": torch.randint(N_NODES, (2, 200))}


def of_nodes(kind):
    """Return a network that computes 32 numbers for each node."""
    from torch_geometric.nn import models

    torch.manual_seed(0)
    return getattr(models, kind)(16, 32, 3)


class Classifier(nn.Module):
    """A classifier of graphs as the tutorials of PyTorch Geometric write it."""

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


def classifier():
    """Return a classifier, graphs in two batches with their number of nodes, and the nodes of each graph."""
    from torch_geometric.data import Batch, Data

    torch.manual_seed(0)
    n_nodes = range(4, 13)
    graphs = [Data(x=torch.randn(n, 16), edge_index=torch.randint(n, (2, 3 * n))) for n in n_nodes]
    batches = [Batch.from_data_list(part) for part in (graphs[:4], graphs[4:])]
    shown = [({"x": b.x, "edge_index": b.edge_index, "batch": b.batch}, len(b.x)) for b in batches]
    return Classifier().eval(), shown, list(n_nodes)


# -- boxes and films ---------------------------------------------------------------------------------

OF_IMAGES = ("backbone.1", "backbone.3", "rpn.head.conv.0.1")
"""Activations of the detector that have the images first."""


def detector():
    """Return torchvision's Faster R-CNN on a small network."""
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.rpn import AnchorGenerator

    torch.manual_seed(0)
    backbone = nn.Sequential(nn.Conv2d(3, 16, 3, 4, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2, 1), nn.ReLU())
    backbone.out_channels = 16
    return FasterRCNN(
        backbone,
        num_classes=3,
        min_size=64,
        max_size=64,
        rpn_anchor_generator=AnchorGenerator(((16, 32),), ((0.5, 1.0),)),
        box_roi_pool=torchvision.ops.MultiScaleRoIAlign(["0"], 3, 2),
        rpn_post_nms_top_n_test=10,
        box_detections_per_img=5,
    )


def lists_of_images(n_images):
    """Return batches as detectors take them."""
    torch.manual_seed(1)
    return [list(batch) for batch in torch.rand(N_STIMULI, 3, 64, 64).split(n_images)]


class Film(nn.Module):
    """A network for images on every frame, then one for sequences, as tutorials on films write it."""

    def __init__(self):
        super().__init__()
        self.frames = torchvision.models.squeezenet1_1(num_classes=10).features[:4]
        self.sequence = nn.GRU(128 * 7 * 7, 9, batch_first=True)
        self.head = nn.Linear(9, 4)

    def forward(self, film):
        n_films, n_frames = film.shape[:2]
        maps = self.frames(film.flatten(0, 1))
        states, _ = self.sequence(maps.reshape(n_films, n_frames, -1))
        return functional.relu(self.head(states))


OF_FRAMES = ("frames.1", "frames.3.*activation")
"""Activations of Film whose first dimension is (film, frame)."""


# -- experts -----------------------------------------------------------------------------------------

EXPERTS = {
    "Mixtral": {"num_key_value_heads": 2, "num_local_experts": 4},
    "Olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
}


def of_experts(kind):
    """Return a mixture of experts of transformers."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**TEXT, **EXPERTS[kind])
    return getattr(transformers, f"{kind}Model")(config)

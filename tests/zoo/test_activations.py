"""Activations that libraries wrote by hand: the module is the activation, not a factor inside it."""

import pytest
import torch
from torch import nn

import ann2neo

from .capture import capture, cut
from .checks import check, quiet, recorded
from .models import BATCH_SIZE, N_STIMULI

pytestmark = pytest.mark.zoo

OF_TIMM = ("Swish", "Mish", "HardSwish", "HardSigmoid", "HardMish", "GELUTanh", "QuickGELU", "Tanh")
OF_TRANSFORMERS = (
    "gelu_fast",
    "gelu_new",
    "gelu_10",
    "gelu_accurate",
    "gelu_pytorch_tanh",
    "quick_gelu",
    "mish",
    "relu2",
    "sqrtsoftplus",
)


@pytest.fixture(params=[*OF_TIMM, *OF_TRANSFORMERS])
def network(request):
    library = "timm" if request.param in OF_TIMM else "transformers"
    pytest.importorskip(library)
    torch.manual_seed(0)
    with quiet():
        if library == "timm":
            from timm.layers import activations

            make = getattr(activations, request.param)
        else:
            from transformers.activations import ACT2FN

            def make():
                return ACT2FN[request.param]

        return nn.Sequential(nn.Linear(6, 8), make(), nn.Linear(8, 9), make())


def test_the_module_is_recorded(network):
    stimuli = 3 * torch.randn(N_STIMULI, 6)
    fired = capture(network, cut(stimuli, BATCH_SIZE))
    recording, warned = recorded(network, stimuli)
    check(recording, fired.chosen(["1", "3"]))
    assert not warned


def test_the_inventory_says_so(network):
    table = ann2neo.layers(network, 3 * torch.randn(N_STIMULI, 6))
    assert table[table.by_default].layer.tolist() == ["1", "3"]


def test_by_name_it_is_recorded(network):
    stimuli = 3 * torch.randn(N_STIMULI, 6)
    fired = capture(network, cut(stimuli, BATCH_SIZE))
    check(recorded(network, stimuli, layers=["1", "3"])[0], fired.chosen(["1", "3"]))

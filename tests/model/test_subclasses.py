"""Weights that are tensors of another kind: sharded by FSDP2, quantized by torchao."""

import numpy as np
import pytest
import torch
from torch import nn

from ann2neo import Probe, record, summarize


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(144, 50), nn.ReLU(), nn.Linear(50, 10)),
    ).eval()


X = torch.randn(32, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def mesh():
    distributed = pytest.importorskip("torch.distributed")
    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("torch comes without distributed, or without gloo")
    from torch.distributed.device_mesh import init_device_mesh

    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def sharded(model, mesh):
    from torch.distributed.fsdp import fully_shard

    fully_shard(model[5], mesh=mesh)
    return fully_shard(model, mesh=mesh)


def assert_as_alone(model, alone):
    """Every road gives what the plain network gives, but no fingerprint."""
    expected = record(alone, X, batch_size=10)
    recording = record(model, X, batch_size=10)
    assert recording.layers == expected.layers == ["3", "6"]
    for layer in recording.layers:
        np.testing.assert_array_equal(recording.raster(layer), expected.raster(layer))
    assert recording.units.equals(expected.units)
    assert recording.units.channel.max() == 3
    assert recording.annotations["parameters_sha256"] is None
    assert len(expected.annotations["parameters_sha256"]) == 64
    with Probe(model) as probe, torch.no_grad():
        model(X)
    np.testing.assert_array_equal(probe.recording.raster("6"), expected.raster("6"))


def test_fsdp2(mesh, tmp_path):
    alone = network()
    model = sharded(network(), mesh)
    weights = list(model.parameters())
    assert type(weights[0]) not in (torch.Tensor, nn.Parameter)
    assert_as_alone(model, alone)
    # a checkpoint is compared without a fingerprint, also after a pass, which leaves weights gathered
    model, whole = sharded(network(), mesh), summarize(alone, X, window=4)
    for _ in range(2):
        part = summarize(model, X, window=4, checkpoint=tmp_path / "run.npz")
        assert part.units.equals(whole.units)


def test_fsdp2_goes_on_training(mesh):
    model = sharded(network(), mesh)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(2):
        record(model, X)
        loss = model(X).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert torch.isfinite(model(X)).all()


def test_torchao():
    quantization = pytest.importorskip("torchao.quantization")
    model, alone = network(), network()
    for each in (model, alone):
        quantization.quantize_(each, quantization.Int8WeightOnlyConfig())
    assert type(model[5].weight) not in (torch.Tensor, nn.Parameter)
    fired = {}
    alone[6].register_forward_hook(lambda module, args, output: fired.update(relu=output))
    with torch.no_grad():
        alone(X)
    recording = record(model, X)
    np.testing.assert_array_equal(recording.raster("6"), (fired["relu"] > 0).T)
    assert recording.annotations["parameters_sha256"] is None
    assert summarize(model, X, window=8).units.n_spikes.sum() == recording.n_spikes

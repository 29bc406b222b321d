"""What is told of each stimulus in order, and loaders that draw them in another."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)
from torch.utils.data.distributed import DistributedSampler

from ann2neo import record, summarize

X = torch.randn(12, 3, 5, generator=torch.Generator().manual_seed(0))
SET = TensorDataset(X)

DRAWN = {
    "shuffle": lambda: DataLoader(SET, 4, shuffle=True),
    "subset": lambda: DataLoader(SET, 4, sampler=SubsetRandomSampler(range(12))),
    "weighted": lambda: DataLoader(SET, 4, sampler=WeightedRandomSampler([1.0] * 12, 12)),
    "distributed": lambda: DataLoader(SET, 4, sampler=DistributedSampler(SET, 1, 0, shuffle=True)),
    "batches": lambda: DataLoader(SET, batch_sampler=BatchSampler(RandomSampler(SET), 4, False)),
}
IN_ORDER = {
    "loader": lambda: DataLoader(SET, 4),
    "distributed": lambda: DataLoader(SET, 4, sampler=DistributedSampler(SET, 1, 0, shuffle=False)),
    "batches": lambda: DataLoader(SET, batch_sampler=BatchSampler(SequentialSampler(SET), 4, False)),
}


@pytest.mark.parametrize("loader", DRAWN.values(), ids=DRAWN)
@pytest.mark.parametrize(
    "told",
    [{"labels": np.arange(12)}, {"ids": np.arange(12)}, {"array_annotations": {"file": np.arange(12)}}],
    ids=["labels", "ids", "file"],
)
def test_what_is_told_in_order_is_refused_beside_a_loader_that_draws(loader, told):
    seen = []
    model = nn.ReLU()
    model.register_forward_hook(lambda *_: seen.append(1))
    with pytest.raises(ValueError, match=r"draws the stimuli \(\w+\): give shuffle=False"):
        record(model, loader(), **told)
    assert not seen


@pytest.mark.parametrize("run", [record, summarize])
def test_lengths_are_refused_beside_a_loader_that_draws(run):
    with pytest.raises(ValueError, match="lengths= are given in order"):
        run(nn.ReLU(), DRAWN["shuffle"](), time_dim=1, lengths=[2] * 12)


@pytest.mark.parametrize("loader", IN_ORDER.values(), ids=IN_ORDER)
def test_a_loader_in_order_is_told_of(loader):
    recording = record(nn.ReLU(), loader(), labels=np.arange(12))
    np.testing.assert_array_equal(recording.stimuli.labels, np.arange(12))
    np.testing.assert_array_equal(recording.raster("ReLU"), (X > 0).flatten(1).T)


def test_labels_of_the_data_set_go_with_their_stimuli():
    loader = DataLoader(TensorDataset(X, torch.arange(12)), 4, shuffle=True)
    recording = record(nn.ReLU(), loader)
    np.testing.assert_array_equal(recording.raster("ReLU"), (X > 0).flatten(1).T[:, recording.stimuli.labels])

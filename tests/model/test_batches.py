"""What is in a batch: one stimulus without its batch, lengths, labels, lists of images."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.data import DataLoader, TensorDataset

from ann2neo import Monitor, Probe, Summary, record, summarize

N = 6


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.ReLU())


# -- one stimulus without its batch --------------------------------------------------------------------


def networks():
    """Return networks that give as many channels as they take, and one stimulus for each."""
    torch.manual_seed(0)
    return [
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU()), torch.randn(3, 8, 8), "'0', a Conv2d"),
        (nn.Sequential(nn.ReLU(), nn.Conv1d(3, 3, 2), nn.ReLU()), torch.randn(3, 8), "'1', a Conv1d"),
        (nn.Sequential(nn.ConvTranspose3d(2, 2, 2), nn.ReLU()), torch.randn(2, 4, 4, 4), "a ConvTranspose3d"),
        (nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.randn(4), "'0', a Linear"),
        (nn.GRU(3, 5, batch_first=True), torch.randn(7, 3), "'GRU', a GRU"),
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.AdaptiveAvgPool2d(1)), torch.randn(3, 9, 9), "Conv2d"),
    ]


@pytest.mark.parametrize("which", range(6))
def test_one_stimulus_without_its_batch_is_refused(which):
    model, stimulus, message = networks()[which]
    layers = "*" if which in (4, 5) else None
    message = rf"{message}, is given a single stimulus of shape.*model\(x\[None\]\)"
    for into in (None, [Summary(window=2)]):
        with Probe(model, layers, into=into) as probe, pytest.raises(ValueError, match=message):
            model(stimulus)
        assert probe.n_stimuli == 0
    with pytest.raises(ValueError, match=message), Monitor(layers).watch(model):
        model(stimulus)
    with pytest.raises(ValueError, match=message):
        record(model, [stimulus], layers)


def test_models_that_make_a_batch_of_what_they_are_given_are_recorded():
    class Grey(nn.Module):
        """Takes images without channels, and one by one."""

        def __init__(self):
            super().__init__()
            self.conv, self.act = nn.Conv2d(1, 2, 3), nn.ReLU()

        def forward(self, images):
            return self.act(torch.stack([self.conv(image[None]) for image in images]))

    model = Grey()
    with Probe(model, "act") as probe:
        model(torch.randn(N, 1, 8, 8)[:, 0])
    assert probe.n_stimuli == N


@pytest.mark.parametrize("n_images", [3, 5])
def test_images_that_a_model_sees_one_by_one_are_not_recorded_as_channels(n_images):
    class OneByOne(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.each, self.all = nn.Conv2d(2, 3, 3), nn.ReLU(), nn.ReLU()

        def forward(self, images):
            return self.all(torch.stack([self.each(self.conv(image)) - 0.1 for image in images]))

    images, model = torch.randn(n_images, 2, 8, 8), OneByOne()
    if n_images == 3:
        with pytest.raises(ValueError, match=r"one by one.*looks like 3 stimuli: give another"):
            record(model, images)
    else:
        with pytest.warns(UserWarning, match=r"not recorded: .*'each': .*first dimension is not the batch"):
            assert record(model, images).layers == ["all"]
    images = torch.randn(5, 2, 8, 8)
    expected = model(images).flatten(1) > 0
    np.testing.assert_array_equal(record(model, images, "all").raster("all"), expected.T)


def test_pooling_of_units_is_no_single_stimulus():
    model, x = nn.Sequential(nn.AdaptiveAvgPool1d(4), nn.ReLU()), torch.randn(N, 8)
    expected = torch.relu(x.reshape(N, 4, 2).mean(2)) > 0
    np.testing.assert_array_equal(record(model, x).raster("1"), expected.T)


# -- lengths and labels --------------------------------------------------------------------------------

LENGTHS = torch.tensor([5, 2, 4])
SEQUENCES = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 1])


class Reader(nn.Module):
    """Takes lengths, and packs or does not."""

    def __init__(self, packs):
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.packs = nn.GRU(4, 6, batch_first=True), packs

    def forward(self, sequences, lengths):
        if self.packs:
            sequences = pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
        return self.rnn(sequences)[0]


def stepwise():
    rnn = Reader(True).rnn
    with torch.no_grad():
        alone = [rnn(x[None, :n])[0][0] for x, n in zip(SEQUENCES, LENGTHS, strict=True)]
    return (torch.cat(alone) > 0).T.numpy()


@pytest.mark.parametrize(("packs", "time_dim"), [(True, None), (True, 1), (False, 1)])
def test_lengths_in_a_batch_are_understood_where_the_model_takes_them(packs, time_dim):
    batches = [(SEQUENCES, LENGTHS, LABELS)]
    recording = record(Reader(packs), batches, "rnn", time_dim=time_dim)
    np.testing.assert_array_equal(recording.raster("rnn"), stepwise())
    np.testing.assert_array_equal(recording.stimuli.labels, LABELS)
    summary = summarize(Reader(packs), [(SEQUENCES, LENGTHS)], "rnn", time_dim=time_dim, window=2)
    assert summary.units.equals(recording.summarize(2).units)
    model = Reader(packs)
    with Probe(model, "rnn", time_dim=time_dim) as probe:
        model(SEQUENCES, LENGTHS)
    np.testing.assert_array_equal(probe.recording.raster("rnn"), stepwise())


def test_lengths_of_other_steps_than_the_layers_are_refused():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, sequences, lengths):
            return self.act(sequences[:, ::2])

    with pytest.raises(ValueError, match=r"lengths of up to 5 steps .* \(3, 5, 4\), but layer 'act' gives 3"):
        record(Half(), [(SEQUENCES, LENGTHS)], time_dim=1)


def test_what_may_be_lengths_or_labels_is_refused():
    for time_dim in (None, 1):
        with pytest.raises(ValueError, match=r"second of 3 in a batch may be lengths or labels.*lengths="):
            record(nn.ReLU(), [(SEQUENCES, LENGTHS, LABELS)], time_dim=time_dim)
    images = torch.randn(3, 3, 8, 8)
    recording = record(nn.ReLU(), [(images, torch.tensor([1, 2, 3]), torch.arange(3))])
    np.testing.assert_array_equal(recording.stimuli.labels, [1, 2, 3])


def test_a_model_that_takes_more_than_a_batch_has_is_refused():
    with pytest.raises(TypeError, match=r"Bilinear takes input1, input2, but .* by name, \{'input1': ..., "):
        record(nn.Bilinear(4, 4, 2), torch.randn(N, 4), "*")


@pytest.mark.parametrize("loaded", [False, True])
def test_labels_in_a_column_are_labels(net, loaded):
    x, labels = torch.randn(N, 4), torch.arange(N)[:, None]
    data = TensorDataset(x, labels)
    recording = record(net, DataLoader(data, 4) if loaded else data, batch_size=4)
    np.testing.assert_array_equal(recording.stimuli.labels, np.arange(N))
    told = record(net, x, labels=labels, array_annotations={"size": labels})
    np.testing.assert_array_equal(told.stimuli.labels, np.arange(N))
    with Probe(net) as probe:
        net(x)
        probe.annotate(labels=labels)
    np.testing.assert_array_equal(probe.recording.stimuli.labels, np.arange(N))


@pytest.mark.parametrize("targets", [torch.randn(N, 4), torch.zeros(N, 8, 8)])
def test_targets_that_are_no_labels_are_refused_before_the_first_pass(net, targets):
    data = TensorDataset(torch.randn(N, 4), targets)
    shown = []
    net.register_forward_hook(lambda *_: shown.append(1))
    with pytest.raises(ValueError, match=r"labels in a batch have shape \(6, .*give x alone"):
        record(net, data)
    assert not shown
    assert summarize(net, data, window=2).n_bins == N  # needs no labels


# -- lists of images -----------------------------------------------------------------------------------


class Detector(nn.Module):
    """Takes images of several sizes, as torchvision's detectors do, and proposes boxes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.act, self.of_boxes = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.ReLU()

    def forward(self, images: list[torch.Tensor], targets=None):
        maps = self.act(self.conv(torch.stack([image[:, :8, :8] for image in images])))
        return self.of_boxes(maps[:, 0, 0].repeat(10, 1))


def images(*sizes):
    return [torch.randn(3, size, size, generator=torch.Generator().manual_seed(size)) for size in sizes]


@pytest.mark.parametrize(
    "batches",
    [
        [images(8, 9, 10), images(11, 12)],
        [tuple(images(8, 9, 10)), tuple(images(11, 12))],
        [(images(8, 9, 10), [{"boxes": 1}] * 3), (images(11, 12), [{"boxes": 1}] * 2)],
        images(8, 9, 10, 11, 12),
    ],
    ids=["lists", "tuples", "beside targets", "one by one"],
)
def test_lists_of_images_are_stimuli(batches):
    model = Detector()
    recording = record(model, batches, "act")
    one_by_one = torch.stack([image[:, :8, :8] for image in images(8, 9, 10, 11, 12)])
    expected = model.act(model.conv(one_by_one)).flatten(1) > 0
    np.testing.assert_array_equal(recording.raster("act"), expected.T)
    assert summarize(model, batches, "act", window=2).units.equals(recording.summarize(2).units)


def test_two_images_are_no_image_and_its_labels():
    recording = record(Detector(), [images(8, 8)], "act")
    assert recording.n_bins == 2

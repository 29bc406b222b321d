"""What is known of each stimulus, and where it goes."""

import numpy as np
import pytest
import quantities as pq
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from ann2neo import Probe, Recording, SpikeRaster, Stimuli, cli, load, record, save

X = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
FILES = np.array([f"bild_{i:02}.png" for i in range(30)])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).eval()


def test_another_order_sorted_by_id_gives_the_same_rasters(net):
    labels = np.arange(30) % 3
    straight = record(net, X, labels=labels, batch_size=30, array_annotations={"file": FILES})
    order = np.random.default_rng(0).permutation(30)
    given = {"ids": order, "labels": labels[order], "array_annotations": {"file": FILES[order]}}
    shuffled = record(net, X[order], batch_size=30, **given)
    assert shuffled.rasters != straight.rasters
    back = shuffled.sort_stimuli()
    assert back.rasters == straight.rasters
    assert back.stimuli == straight.stimuli
    by_file = shuffled.sort_stimuli("file")
    assert by_file.rasters == straight.rasters
    by_label = straight.sort_stimuli("labels")
    assert by_label.labels.tolist() == sorted(labels.tolist())
    np.testing.assert_array_equal(
        by_label.raster("1"), straight.raster("1")[:, np.argsort(labels, kind="stable")]
    )


def test_all_bins_of_a_stimulus_move_together():
    raster = SpikeRaster.from_dense([[1, 0, 0, 1, 1, 0], [0, 1, 0, 0, 0, 1]])
    stimuli = Stimuli.in_order(3, n_steps=[1, 2, 3], ids=[7, 9, 5], array_annotations={"x": [0.5, 1.5, -1]})
    back = Recording({"relu": raster}, stimuli).sort_stimuli()
    assert back.raster("relu").astype(int).tolist() == [[1, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0]]
    assert back.stimuli == Stimuli.in_order(
        3, n_steps=[3, 1, 2], ids=[5, 7, 9], array_annotations={"x": [-1, 0.5, 1.5]}
    )


def test_predictions_are_the_models_own(net):
    with torch.no_grad():
        expected = net(X).argmax(1)
    loader = DataLoader(TensorDataset(X, torch.arange(30)), batch_size=7)
    recording = record(net, loader)
    assert recording.stimuli.array_annotations["prediction"].tolist() == expected.tolist()
    told = record(net, X, array_annotations={"prediction": -expected})
    assert told.stimuli.array_annotations["prediction"].tolist() == (-expected).tolist()
    assert not record(nn.Sequential(nn.Linear(6, 1), nn.ReLU()), X).stimuli.array_annotations
    pictures = nn.Sequential(nn.ReLU(), nn.Unflatten(1, (2, 3)))
    assert not record(pictures, X).stimuli.array_annotations


def test_a_probe_is_told_of_stimuli(net):
    with Probe(net) as probe:
        for i in range(0, 30, 10):
            net(X[i : i + 10])
            probe.annotate(labels=range(10), session=["morning"] * 10)
        with pytest.raises(ValueError, match=r"session of shape \(3,\) for 10 stimuli"):
            probe.annotate(session=[1, 2, 3])
    assert set(probe.recording.stimuli.array_annotations) == {"prediction", "session"}


def test_they_are_array_annotations_of_the_event_and_lie_as_long_as_the_stimuli(net):
    rnn = nn.GRU(2, 4, batch_first=True)
    lengths = [3, 1, 2, 3]
    recording = record(
        rnn, torch.randn(4, 3, 2), "GRU", time_dim=1, lengths=lengths, n_trials=2, bin_size=0.5,
        array_annotations={"file": FILES[:4]}, labels=["a", "b", "c", "d"],
    )  # fmt: skip
    block = recording.to_neo()
    events = [segment.events[0] for segment in block.segments]
    assert [event.array_annotations["file"].tolist() for event in events] == [
        list(FILES[:2]),
        list(FILES[2:4]),
    ]
    epochs = [epoch for s in block.segments for epoch in s.epochs if epoch.name == "presentations"]
    starts = np.concatenate([epoch.times.rescale(pq.ms).magnitude for epoch in epochs])
    durations = np.concatenate([epoch.durations.rescale(pq.ms).magnitude for epoch in epochs])
    np.testing.assert_allclose(starts, [0, 1.5, 2, 3])
    np.testing.assert_allclose(durations, 0.5 * np.array(lengths))
    assert [label for epoch in epochs for label in epoch.labels] == ["a", "b", "c", "d"]
    assert Recording.from_neo(block) == recording


@pytest.mark.parametrize("suffix", [".nwb", ".nix", ".mat", ".pkl"])
def test_every_file_keeps_them(net, tmp_path, suffix):
    more = {"datei": FILES, "größe": np.linspace(0, 1, 30), "n": np.arange(30) + 2**60}
    recording = record(net, X, n_trials=3, array_annotations=more)
    assert load(save(recording, tmp_path / f"net{suffix}"), trust=True) == recording


def test_nwb_readers_see_them_as_columns(net, tmp_path):
    import pynwb

    path = save(record(net, X, array_annotations={"file": FILES}), tmp_path / "net.nwb")
    with pynwb.NWBHDF5IO(path, "r") as io:
        table = io.read().intervals["stimuli"].to_dataframe()
    assert table["file"].tolist() == FILES.tolist()
    assert table["prediction"].tolist() == record(net, X).stimuli.array_annotations["prediction"].tolist()


def test_the_command_line_keeps_file_names(tmp_path, capsys):
    for i in range(4):
        folder = tmp_path / "images" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (64, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    out = tmp_path / "net.nwb"
    arguments = ["--model", "squeezenet1_1", "--units", "3", "--seed", "2"]
    assert cli.main(["record", *arguments, "--data", str(tmp_path / "images"), "-o", str(out)]) == 0
    stimuli = load(out).stimuli
    files = ["a/0.png", "a/2.png", "b/1.png", "b/3.png"]
    assert stimuli.array_annotations["file"].tolist() == [files[i] for i in stimuli.ids]
    assert stimuli.labels.tolist() == [int(files[i][0] == "b") for i in stimuli.ids]
    assert stimuli.ids.tolist() != [0, 1, 2, 3]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"array_annotations": {"file": ["a"]}}, r"file of shape \(1,\) for 30 stimuli"),
        (
            {"array_annotations": {"labels": range(30)}},
            "array_annotations has 'labels': give it as labels=",
        ),
        ({"array_annotations": {"a/b": range(30)}}, "'a/b' cannot be the name of a stimulus annotation"),
    ],
)
def test_annotations_that_cannot_be(net, given, message):
    with pytest.raises(ValueError, match=message):
        record(net, X, **given)


@pytest.mark.parametrize("by", ["file", "labels"])
def test_sorting_by_what_is_not_there(net, by):
    with pytest.raises(ValueError, match=f"cannot sort the stimuli by '{by}': they have"):
        record(net, X).sort_stimuli(by)
    with pytest.raises(ValueError, match="they have nothing"):
        Recording({"a": SpikeRaster.from_dense([[1]])}).sort_stimuli()

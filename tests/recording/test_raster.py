"""The nouns: packing, trials, windows, selection."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from ann2neo import Recording, SpikeRaster, Stimuli
from ann2neo.recording import raster as nouns
from ann2neo.recording.time import PseudoTime, divide, milliseconds

DENSE = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40))


@pytest.fixture
def recording():
    rng = np.random.default_rng(0)
    time = PseudoTime(2.0, (4, 4, 2))
    return Recording(
        {
            "conv": SpikeRaster.from_dense(rng.random((12, 10)) < 0.5, time=time, shape=(3, 2, 2)),
            "fc": SpikeRaster.from_dense(rng.random((3, 10)) < 0.5, time=time, units=[5, 2, 9], shape=(10,)),
        },
        Stimuli.in_order(10, labels=[0, 1, 0, 1, 2, 2, 0, 0, 1, 1], ids=range(100, 110)),
        {"model": "net", "nested": {"a": (1, 2)}},
    )


@settings(deadline=None)
@given(DENSE)
def test_packing_loses_nothing(dense):
    raster = SpikeRaster.from_dense(dense)
    np.testing.assert_array_equal(raster.dense(), dense)
    assert raster.n_spikes == dense.sum()
    bins, offsets = raster.spikes()
    for row, own in enumerate(dense):
        np.testing.assert_array_equal(bins[offsets[row] : offsets[row + 1]], np.flatnonzero(own))


@settings(deadline=None)
@given(DENSE, st.integers(1, 20))
def test_rows_of_bins_become_rows_of_units(dense, units_at_once):
    """`by_unit` transposes in blocks; the blocks' size (a multiple of 8) does not show."""
    before = nouns.UNITS_AT_ONCE
    nouns.UNITS_AT_ONCE = 8 * units_at_once
    try:
        packed = nouns.by_unit(np.packbits(dense.T, axis=1), len(dense))
        np.testing.assert_array_equal(packed, np.packbits(dense, axis=1))
    finally:
        nouns.UNITS_AT_ONCE = before


def test_a_raster_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        SpikeRaster.from_dense([[1, 0]]).packed[0] = 0


@given(st.integers(1, 1000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n))))
def test_trials_are_equal_to_within_one_bin(case):
    n_bins, n_trials = case
    trials = divide(n_bins, n_trials)
    assert sum(trials) == n_bins
    assert len(trials) == n_trials
    assert max(trials) - min(trials) <= 1


@pytest.mark.parametrize("n_trials", [0, 4, -1])
def test_more_trials_than_bins(n_trials):
    with pytest.raises(ValueError, match=f"n_trials={n_trials}, but 3 bins"):
        divide(3, n_trials)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=5), st.data())
def test_windows_lie_within_trials(trial_bins, data):
    time = PseudoTime(1.0, tuple(trial_bins))
    window = data.draw(st.integers(1, max(trial_bins)))
    edges = time.window_edges(window)
    assert len(edges) == sum(n // window for n in trial_bins)
    for first, last in edges:
        assert last - first == window
        assert len(set(time.trial_of(np.arange(first, last)))) == 1


def test_window_longer_than_every_trial(recording):
    with pytest.raises(ValueError, match=r"window=5 bins, but the longest of 3 trial\(s\) has 4"):
        recording.summarize(window=5)


@pytest.mark.parametrize("bin_size", [0, -1, float("nan"), float("inf"), "long", None])
def test_bin_size_that_is_no_time(bin_size):
    with pytest.raises(ValueError, match="bin_size="):
        milliseconds(bin_size)


def test_units_have_coordinates_on_feature_maps(recording):
    units = recording.units
    assert units.columns.tolist() == ["layer", "unit", "channel", "y", "x", "threshold"]
    conv = units[units.layer == "conv"]
    np.testing.assert_array_equal(np.ravel_multi_index((conv.channel, conv.y, conv.x), (3, 2, 2)), conv.unit)
    assert (units.loc[units.layer == "fc", ["channel", "y", "x"]] == -1).all(axis=None)


def test_select_layers_and_units(recording):
    assert recording.select(layers="f*").layers == ["fc"]
    chosen = recording.select(layers="fc", units=[9, 5])
    np.testing.assert_array_equal(chosen.raster("fc"), recording.raster("fc")[[2, 0]])
    assert chosen.units.unit.tolist() == [9, 5]
    assert recording.select(units={"c*": 3}).units.groupby("layer").size().to_dict() == {"conv": 1, "fc": 3}
    assert recording.select(units={"fc": [2], "conv": [1]}).layers == ["conv", "fc"]
    by_mask = recording.select(units=recording.units.channel == 1)
    assert by_mask.layers == ["conv"]
    np.testing.assert_array_equal(by_mask.raster("conv"), recording.raster("conv")[4:8])


def test_select_trials_and_labels(recording):
    second = recording.select(trials=1)
    assert second.time.trial_bins == (4,)
    np.testing.assert_array_equal(second.raster("fc"), recording.raster("fc")[:, 4:8])
    np.testing.assert_array_equal(second.stimuli.ids, [104, 105, 106, 107])
    ones = recording.select(labels=1)
    assert ones.time.trial_bins == (2, 2)  # the second trial shows no 1 and disappears
    np.testing.assert_array_equal(ones.raster("conv"), recording.raster("conv")[:, [1, 3, 8, 9]])
    np.testing.assert_array_equal(ones.labels, [1, 1, 1, 1])
    both = recording.select(trials=slice(1, None), labels=[0, 1])
    np.testing.assert_array_equal(both.stimuli.ids, [106, 107, 108, 109])


def test_labels_of_stimuli_that_last_several_bins():
    raster = SpikeRaster.from_dense(np.zeros((1, 6)))
    recording = Recording({"rnn": raster}, Stimuli.in_order(2, n_steps=3, labels=["a", "b"]))
    assert recording.labels.tolist() == ["a", "a", "a", "b", "b", "b"]
    assert recording.select(labels="b").stimuli.onsets.tolist() == [0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_steps": [1, 0, 2]}, "stimulus 1 takes no bin"),
        ({"n_steps": [1.5, 1, 1]}, "n_steps are of type float64: give whole numbers"),
        ({"n_steps": [2]}, r"n_steps of shape \(1,\) for 3 stimuli"),
        ({"ids": [True, False, True]}, "ids are of type bool: give whole numbers"),
        ({"array_annotations": {7: [1, 2, 3]}}, "7 cannot be the name of a stimulus annotation"),
        ({"array_annotations": {"self": [1, 2, 3]}}, "'self' cannot be the name of a stimulus annotation"),
        (
            {"array_annotations": {"nix_name": "abc"}},
            "'nix_name' cannot be the name of a stimulus annotation",
        ),
        ({"array_annotations": {"x": [[1], [2], [3]]}}, r"x of shape \(3, 1\) for 3 stimuli"),
        ({"labels": np.array([1, 2, 2**63], np.uint64)}, "labels go up to 9223372036854775808"),
    ],
)
def test_stimuli_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        Stimuli.in_order(3, **arguments)


def test_selection_keeps_stimuli_and_their_annotations_together():
    """Each bin's own number is what stimuli are named by, so any slip shows."""
    n_steps = np.array([2, 1, 3, 2, 2])
    owner = np.repeat(np.arange(5), n_steps)
    time = PseudoTime(1.0, (3, 3, 4))
    raster = SpikeRaster.from_dense(owner[None] >> np.arange(3)[:, None] & 1, time=time)
    names = np.array(list("abcde"))
    stimuli = Stimuli.in_order(5, n_steps=n_steps, labels=[0, 1, 0, 1, 1], array_annotations={"name": names})
    whole = Recording({"relu": raster}, stimuli)
    chosen = [whole.select(trials=[0, 2]), whole.select(labels=1), whole.sort_stimuli("labels")]
    chosen.append(whole.select(labels=1).sort_stimuli("name"))
    for part, own in zip(chosen, ["aabddee", "bddee", "aacccbddee", "bddee"], strict=True):
        shown = (part.raster("relu").T @ [1, 2, 4]).tolist()
        assert "".join(names[shown]) == own
        of_bin = part.stimuli.array_annotations["name"]
        assert "".join(of_bin[part._stimulus_of_bin()]) == own


def test_sorted_stimuli_are_not_called_shuffled(recording):
    shuffled = Recording(recording.rasters, recording.stimuli, {"shuffled": True, "model": "net"})
    sorted_ = shuffled.sort_stimuli("labels")
    assert sorted_.annotations == {"shuffled": False, "sorted_by": "labels", "model": "net"}
    assert sorted_.time.trial_bins == (10,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "relu"}, r"no layer matches \['relu'\]; the recording has \['conv', 'fc'\]"),
        ({"layers": "fc", "units": [4]}, "layer 'fc' has no recorded unit 4"),
        ({"units": [True, False]}, r"a mask over units has shape \(15,\)"),
        ({"trials": 3}, "trials=3: the recording has trials 0 to 2"),
        ({"labels": "cat"}, r"no stimulus is labelled \['cat'\]; there are 0, 1, 2"),
        ({"labels": [0, 7]}, r"no stimulus is labelled \[7\]"),
        ({"layers": ["fc", "typo"]}, r"no layer matches \['typo'\]"),
        ({"units": {"typo": [0]}}, r"no layer matches \['typo'\]"),
        ({"units": []}, "units= chooses no unit of the layers"),
        ({"trials": slice(7, 9)}, r"trials=slice\(7, 9, None\): the recording has trials 0 to 2"),
        ({"trials": []}, r"trials=\[\]"),
        ({"trials": 2, "labels": 2}, "no bin is left"),
    ],
)
def test_select_what_is_not_there(recording, arguments, message):
    with pytest.raises(ValueError, match=message):
        recording.select(**arguments)


@pytest.mark.parametrize("onsets", [[1, 2], [0, 0], [0, 11], []])
def test_stimuli_that_do_not_fit_the_bins(recording, onsets):
    stimuli = Stimuli(np.array(onsets, np.int64), np.arange(len(onsets)))
    with pytest.raises(ValueError, match="give onsets in ascending order, the first of them 0"):
        Recording(recording.rasters, stimuli)


def test_the_arrays_given_stay_writable():
    packed, units = np.zeros((1, 1), np.uint8), np.arange(1)
    SpikeRaster(packed, PseudoTime(1.0, (3,)), units, (1,), np.zeros(1))
    packed[0] = units[0] = 1


def test_unknown_layer(recording):
    with pytest.raises(KeyError, match=r"no layer 'x'; the recording has"):
        recording.raster("x")


def test_raster_as_tensor(recording):
    import torch

    assert recording.raster("fc", as_tensor=True).dtype == torch.bool


def test_annotations_are_what_json_keeps(recording):
    assert recording.annotations["nested"] == {"a": [1, 2]}
    with pytest.raises(ValueError, match="is a object: give numbers"):
        Recording(recording.rasters, annotations={"x": object()})
    with pytest.raises(ValueError, match=r"annotations have the key 1: give strings"):
        Recording(recording.rasters, annotations={1: 2})


def test_equality_sees_every_part(recording):
    assert recording == recording.select()
    assert recording != recording.select(layers="fc")
    assert recording != Recording(recording.rasters, recording.stimuli, {"model": "other"})
    assert recording != Recording(recording.rasters, None, recording.annotations)
    relabelled = Stimuli.in_order(10, labels=np.zeros(10, int), ids=range(100, 110))
    assert recording != Recording(recording.rasters, relabelled, recording.annotations)
    stimuli = [Stimuli.in_order(2, array_annotations=more) for more in ({}, {"x": [1, 2]}, {"x": [1.0, 2.0]})]
    assert [[one == two for one in stimuli] for two in stimuli] == np.eye(3).tolist()
    nan = [Stimuli.in_order(2, array_annotations={"x": [x, np.nan]}) for x in (1, 1, 2)]
    assert nan[0] == nan[1] != nan[2]


def test_layers_share_one_time():
    with pytest.raises(ValueError, match="give all layers of a recording the same pseudo-time"):
        Recording({"a": SpikeRaster.from_dense([[1, 0]]), "b": SpikeRaster.from_dense([[1]])})

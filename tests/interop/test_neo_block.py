"""Recordings as Neo Blocks and back; Blocks from elsewhere; lazily made trains."""

import copy
import pickle

import neo
import numpy as np
import pytest
import quantities as pq
from elephant.conversion import BinnedSpikeTrain
from hypothesis import given, settings
from hypothesis import strategies as st
from neo.test.tools import assert_neo_object_is_compliant

from ann2neo import Recording, SpikeRaster, Stimuli
from ann2neo.recording.time import PseudoTime
from helpers.strategies import recordings


@pytest.fixture
def recording():
    rng = np.random.default_rng(0)
    time = PseudoTime(0.5, (6, 5))
    rasters = {
        "conv": SpikeRaster.from_dense(rng.random((8, 11)) < 0.4, time=time, shape=(2, 2, 2), threshold=0.1),
        "fc": SpikeRaster.from_dense(rng.random((2, 11)) < 0.4, time=time, units=[7, 3], shape=(9,)),
    }
    return Recording(
        rasters, Stimuli.in_order(11, labels=list("abcabcabcab"), ids=range(20, 31)), {"model": "net"}
    )


@settings(deadline=None, max_examples=80)
@given(recordings())
def test_there_and_back_through_neo(recording):
    block = recording.to_neo()
    assert_neo_object_is_compliant(block)
    assert Recording.from_neo(block) == recording


@settings(deadline=None, max_examples=40)
@given(recordings(), st.sampled_from([1.0, 0.1, 0.3, 1 / 3, 7.7, 1e-4, 1e5]))
def test_binning_by_elephant_gives_the_raster(recording, bin_size):
    """No warning and no spike moved, whatever the bin size, trial by trial."""
    time = PseudoTime(bin_size, recording.time.trial_bins)
    for layer in recording.layers:
        raster = SpikeRaster.from_dense(recording.raster(layer), time=time)
        block = Recording({layer: raster}).to_neo()
        for trial, segment in enumerate(block.segments):
            first, last = time.trial_edges[trial : trial + 2]
            binned = BinnedSpikeTrain(
                list(segment.spiketrains), bin_size=bin_size * pq.ms, n_bins=int(last - first)
            )
            np.testing.assert_array_equal(binned.to_array(), raster.dense()[:, first:last])


def test_block_is_laid_out_as_designed(recording):
    block = recording.to_neo()
    assert [segment.name for segment in block.segments] == ["trial 0", "trial 1"]
    assert [group.name for group in block.groups] == ["conv", "fc"]
    assert block.annotations["model"] == "net"
    assert block.annotations["bin_size"] == "0.5 ms"
    second = block.segments[1]
    assert second.spiketrains[0].t_start == 3.0 * pq.ms
    assert second.spiketrains[0].t_stop == 5.5 * pq.ms
    train = second.spiketrains[8]
    assert train.name == "fc[7]"
    assert train.annotations["layer"] == "fc"
    assert train.annotations["unit"] == 7
    assert second.spiketrains[5].annotations | {"threshold": 0.1} == {
        "layer": "conv", "unit": 5, "channel": 1, "y": 0, "x": 1, "threshold": 0.1,
    }  # fmt: skip
    spikes = np.flatnonzero(recording.raster("fc")[0, 6:]) + 6
    np.testing.assert_allclose(train.magnitude, (spikes + 0.5) * 0.5)
    event, epoch = second.events[0], second.epochs[0]
    assert event.name == "stimuli"
    np.testing.assert_allclose(event.rescale("ms").magnitude, np.arange(6, 11) * 0.5)
    assert event.labels.tolist() == list("abcab")
    assert event.array_annotations["stimulus_id"].tolist() == [26, 27, 28, 29, 30]
    assert (epoch.name, epoch.times[0], epoch.durations[0]) == ("trials", 3.0 * pq.ms, 2.5 * pq.ms)
    grouped = list(block.groups[1].spiketrains)
    assert grouped[1] is block.segments[0].spiketrains[9]
    assert grouped[2] is block.segments[1].spiketrains[8]
    assert len(grouped) == 4


def test_trains_equal_those_of_the_public_constructor(recording):
    for train in recording.to_neo().segments[1].spiketrains:
        built = neo.SpikeTrain(
            train.magnitude.copy() * pq.ms, t_start=train.t_start, t_stop=train.t_stop, name=train.name,
            **train.annotations,
        )  # fmt: skip
        assert (train == built).all()
        assert set(vars(train)) == set(vars(built))
        for name, value in vars(built).items():
            if name not in ("segment", "array_annotations"):
                assert type(getattr(train, name)) is type(value), name
                assert getattr(train, name) == value, name
        assert (train.time_shift(1 * pq.ms).magnitude == built.time_shift(1 * pq.ms).magnitude).all()
        assert len(train.time_slice(3.2 * pq.ms, 4.4 * pq.ms)) == len(
            built.time_slice(3.2 * pq.ms, 4.4 * pq.ms)
        )


def test_trains_are_made_on_demand_and_keep_their_annotations(recording):
    trains = recording.to_neo().segments[0].spiketrains
    held = trains[3]
    assert trains[3] is held
    trains[4].annotate(quality="good")  # nobody holds this train
    assert trains[4].annotations["quality"] == "good"
    assert trains[-1].name == "fc[3]"
    assert [train.name for train in trains[8:]] == ["fc[7]", "fc[3]"]
    with pytest.raises(IndexError):
        trains[10]


def test_a_lazy_list_that_is_changed_is_a_plain_one(recording):
    segment = recording.to_neo().segments[0]
    held = segment.spiketrains[2]
    extra = neo.SpikeTrain([1.0] * pq.ms, t_stop=3 * pq.ms)
    segment.spiketrains.append(extra)
    assert len(segment.spiketrains) == 11
    assert segment.spiketrains[10] is extra
    assert segment.spiketrains[2] is held
    assert extra.segment is segment
    segment.spiketrains.pop()
    assert len(list(segment.spiketrains)) == 10
    assert len(segment.spiketrains + [extra]) == 11  # noqa: RUF005 (Neo's own +)
    channels, times = segment.spiketrains.multiplexed
    assert len(channels) == len(times) == sum(r.dense()[:, :6].sum() for r in recording.rasters.values())


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies_are_whole(recording, duplicate):
    block = duplicate(recording.to_neo())
    assert_neo_object_is_compliant(block)
    assert Recording.from_neo(block) == recording
    assert b"ann2neo.lazy" not in pickle.dumps(block)


def foreign(*segments, names=None):
    block = neo.Block(name="cortex")
    for trains in segments:
        segment = neo.Segment()
        segment.spiketrains.extend(trains)
        block.segments.append(segment)
    return block


def spiketrain(times, t_stop=100.0, t_start=0.0, units="ms", **annotations):
    return neo.SpikeTrain(times, units=units, t_start=t_start, t_stop=t_stop, **annotations)


def test_neurons_from_elsewhere_are_binned():
    block = foreign(
        [spiketrain([0.01, 0.06], 0.1, units="s"), spiketrain([99.0])],
        [spiketrain([205.0], 250.0, 200.0), spiketrain([], 250.0, 200.0)],
    )
    recording = Recording.from_neo(block, bin_size=10 * pq.ms)
    expected = np.zeros((2, 15), int)
    expected[0, [1, 6, 10]] = expected[1, 9] = 1
    np.testing.assert_array_equal(recording.raster("units"), expected)
    assert recording.time.trial_bins == (10, 5)
    assert recording.stimuli is None
    assert recording.labels is None
    assert np.isnan(recording.units.threshold).all()
    assert Recording.from_neo(recording.to_neo()) == recording
    assert len(recording.summarize(5).units) == 2


def test_groups_from_elsewhere_are_layers():
    trains = [spiketrain([5.0 + i]) for i in range(3)]
    block = foreign(trains)
    block.groups = [neo.Group([trains[2], trains[0]], name="V1"), neo.Group([trains[1]], name="V2")]
    recording = Recording.from_neo(block, bin_size=1.0)
    assert recording.layers == ["V1", "V2"]
    assert [np.flatnonzero(row).tolist() for row in recording.raster("V1")] == [[5], [7]]


def test_a_block_of_ours_binned_as_if_from_elsewhere():
    """Its trains are made on demand and forgotten: rows must not be taken for one another."""
    rng = np.random.default_rng(0)
    rasters = {name: SpikeRaster.from_dense(rng.random((60, 40)) < 0.3) for name in ("a", "b")}
    again = Recording.from_neo(Recording(rasters).to_neo(), bin_size=1.0)
    for name, raster in rasters.items():
        np.testing.assert_array_equal(again.raster(name), raster.dense())


def test_units_from_elsewhere_are_told_by_name():
    block = foreign(
        [spiketrain([11.0], name="A"), spiketrain([], name="B")],
        [spiketrain([], name="B"), spiketrain([21.0], name="A")],
    )
    recording = Recording.from_neo(block, bin_size=10)
    assert [np.flatnonzero(row).tolist() for row in recording.raster("units")] == [[1, 12], []]


def test_groups_of_one_name_and_trains_in_none():
    trains = [spiketrain([5.0 + 10 * i]) for i in range(4)]
    block = foreign(trains)
    block.groups = [neo.Group([trains[i]], name=name) for i, name in ((0, "V1"), (2, "V1"), (1, "units"))]
    recording = Recording.from_neo(block, bin_size=10)
    assert {name: raster.units.tolist() for name, raster in recording.rasters.items()} == {
        "V1": [0], "V1 1": [2], "units": [1], "units 1": [3],
    }  # fmt: skip


def test_segments_without_trains_are_left_out():
    with pytest.warns(UserWarning, match="1 segments of Block 'cortex' have no spike trains"):
        recording = Recording.from_neo(foreign([spiketrain([1.0])], []), bin_size=10)
    assert recording.n_trials == 1


def test_what_is_no_block(recording):
    with pytest.raises(TypeError, match=r"takes a neo\.Block, but this is a Segment"):
        Recording.from_neo(recording.to_neo().segments[0])


def test_spikes_that_share_a_bin_are_counted():
    block = foreign([spiketrain([1.0, 2.0, 50.0])])
    with pytest.warns(UserWarning, match="1 of 3 spikes are lost: they share a bin of 10 ms"):
        recording = Recording.from_neo(block, bin_size=10)
    assert recording.annotations["n_spikes_merged"] == 1


def test_an_incomplete_last_bin_is_dropped():
    recording = Recording.from_neo(foreign([spiketrain([1.0, 92.0], t_stop=93.0)]), bin_size=9.3)
    assert recording.n_bins == 10
    with pytest.warns(UserWarning, match="1 of 2 spikes"):
        assert Recording.from_neo(foreign([spiketrain([1.0, 92.0], t_stop=93.0)]), bin_size=10).n_bins == 9


@pytest.mark.parametrize(
    ("block", "bin_size", "message"),
    [
        (
            foreign([spiketrain([1.0])]),
            None,
            "Block 'cortex' was not made by ann2neo, so its spikes must be binned: give bin_size",
        ),
        (foreign([]), 1.0, "Block 'cortex' has no spike trains"),
        (
            foreign([spiketrain([1.0])], [spiketrain([]), spiketrain([])]),
            1.0,
            r"have different numbers of spike trains, \[1, 2\]",
        ),
        (foreign([spiketrain([1.0])]), 200, "bin_size=200 ms, but the trains of a segment share only 100 ms"),
        (
            foreign([spiketrain([1.0]), spiketrain([], 300, 200)]),
            1.0,
            "the trains of a segment share no time",
        ),
        (
            foreign([spiketrain([1.0], name="A")], [spiketrain([], name="B")]),
            1.0,
            "segment 1 .* has no train 'A'",
        ),
        (foreign([spiketrain([1.0])]), -1, "bin_size=-1"),
    ],
)
def test_blocks_that_cannot_be_read(block, bin_size, message):
    with pytest.raises(ValueError, match=message):
        Recording.from_neo(block, bin_size)


def test_a_block_of_ours_that_lost_something(recording):
    block = recording.to_neo()
    del block.segments[0].spiketrains._items[3]
    with pytest.raises(ValueError, match=r"segment 0 has lost its train 'conv\[3\]'"):
        Recording.from_neo(block)
    block = recording.to_neo()
    block.segments = block.segments[:1]
    with pytest.raises(ValueError, match="made with 2 segments, but now it has 1"):
        Recording.from_neo(block)


def test_a_spike_outside_its_trial(recording):
    block = recording.to_neo()
    block.segments[0].spiketrains[0] = spiketrain([4.75], name="conv[0]")
    with pytest.raises(ValueError, match=r"unit conv\[0\] has a spike outside trial 0"):
        Recording.from_neo(block)


@pytest.mark.parametrize("bin_size", [1.0, 0.1, 0.3])
def test_bins_are_recovered_over_a_million_bins(bin_size):
    from ann2neo.interop.description import bins_of

    bins = np.arange(1_000_000)
    np.testing.assert_array_equal(bins_of((bins + 0.5) * bin_size, bin_size), bins)
    in_seconds_and_back = (bins + 0.5) * bin_size / 1000 * 1000
    np.testing.assert_array_equal(bins_of(in_seconds_and_back, bin_size), bins)


def test_trains_that_end_at_different_times_share_the_shorter():
    segment = neo.Segment()
    for times, stop in (([1.5, 7.5], 8), ([2.5, 9.5], 10.2)):
        segment.spiketrains.append(neo.SpikeTrain(times, units="ms", t_stop=stop))
    block = neo.Block()
    block.segments.append(segment)
    with pytest.warns(UserWarning, match="1 of 4 spikes are lost: they share a bin .* or lie outside"):
        dense = Recording.from_neo(block, bin_size=1).raster("units")
    assert [np.flatnonzero(row).tolist() for row in dense] == [[1, 7], [2]]
